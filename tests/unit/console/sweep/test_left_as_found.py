"""Whatever ends an experiment, the load is off afterwards and an engine elsewhere is as it was found."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from console.commands import max_load
from console.commands.compare_live import LivePlan, parse_side
from console.commands.progress import Progress
from console.commands.run import _measure
from console.commands.sweep import SweepProgress, run_sweep
from console.measure.max_load import MaxLoadSpec, find_max_load
from console.measure.run import run
from console.measure.spec import RunSpec
from console.model.engine import Deployment, Phase
from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.model.load import LoadSpec
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.read import list_sweeps
from console.sweep.runner import Sweep, SweepPlan, plan_sweep
from console.sweep.spec import SweepSpec, parse_spec
from console.sweep.state import PointStatus, SweepState
from tests.support.fake_engine import FakeEngine, start_server
from tests.unit.console.support.made import store_in

ENDLESS = RunSpec(LoadSpec(1, 1), duration_s=600.0, warm_up_s=0.0)
GRID = """duration = "600s"
warm_up = "0s"
[grid]
backends = "onnx"
precisions = "fp32"
coalescing = false
max_batch_tokens = 77
"""


class Fault(Exception):
    """What no code here expects."""


@dataclass
class Remote:
    """A fake engine, and a session that is connected to it."""

    engine: FakeEngine
    address: str
    session: Session

    @property
    def state(self) -> tuple[str, bool, int]:
        return self.engine.live.backend, self.engine.batching.coalesce, self.engine.batching.max_batch_tokens


@pytest_asyncio.fixture
async def remote() -> AsyncIterator[Remote]:
    engine = FakeEngine("torch", "fp32", delay_s=0.005)
    server, address = await start_server(engine)
    async with Session(SessionOptions(connect=address)) as session:
        await session.wait_until_ready()
        yield Remote(engine, address, session)
    await server.stop(None)


AS_FOUND = ("torch", True, 4096)


# ---- one run


class Raising:
    """An observer that fails at one of its calls."""

    def __init__(self, at: str) -> None:
        self.at = at

    def on_start(self, run_id: str, session: Session, started_s: float) -> None:
        if self.at == "on_start":
            raise Fault

    def on_intervals(self, session: Session) -> None:
        if self.at == "on_intervals":
            raise Fault


def quiet(frame: Frame, left_s: float | None) -> None:
    """Tells nobody."""


def raising(frame: Frame, left_s: float | None) -> None:
    if frame.load.running:
        raise Fault


@pytest.mark.parametrize("at", ["on_start", "on_intervals"])
async def test_an_observer_that_fails_leaves_no_load_behind(remote: Remote, at: str) -> None:
    with pytest.raises(Fault):
        await run(remote.session, ENDLESS, quiet, asyncio.Event(), Raising(at))
    assert not remote.session.frame.load.running


async def test_progress_that_cannot_be_shown_leaves_no_load_behind(remote: Remote) -> None:
    with pytest.raises(Fault):
        await run(remote.session, ENDLESS, raising, asyncio.Event())
    assert not remote.session.frame.load.running


async def test_a_cancelled_run_leaves_no_load_behind_however_often_it_is_cancelled(remote: Remote) -> None:
    shown = asyncio.Event()
    running = asyncio.create_task(run(remote.session, ENDLESS, lambda frame, left_s: shown.set(), asyncio.Event()))
    await shown.wait()
    running.cancel()
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not remote.session.frame.load.running


async def test_a_run_that_is_cancelled_while_its_load_starts_leaves_no_load_behind(remote: Remote) -> None:
    asked, started = asyncio.Event(), asyncio.Event()
    link = remote.session._load
    send, on_started = link._driver.send, link._on_started

    def sent(command: Any) -> None:
        send(command)
        asked.set()

    def begun(event: Any) -> None:
        on_started(event)
        started.set()

    link._driver.send, link._on_started = sent, begun  # type: ignore[method-assign]
    running = asyncio.create_task(run(remote.session, ENDLESS, quiet, asyncio.Event()))
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await started.wait()
    assert not remote.session.frame.load.running


def test_ctrl_c_in_the_middle_of_a_step_leaves_no_load_behind() -> None:
    left: list[bool] = []

    def interrupt(frame: Frame, left_s: float | None) -> None:
        raise KeyboardInterrupt

    async def interrupted() -> None:
        server, address = await start_server(FakeEngine(delay_s=0.005))
        async with Session(SessionOptions(connect=address)) as session:
            await session.wait_until_ready()
            try:
                await run(session, ENDLESS, interrupt, asyncio.Event())
            finally:
                left.append(session.frame.load.running)
                await server.stop(None)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interrupted())
    assert left == [False]


async def test_a_search_whose_progress_fails_leaves_no_load_behind(remote: Remote) -> None:
    spec = MaxLoadSpec(LoadSpec(1), 100.0, closed=True)
    with pytest.raises(Fault):
        await find_max_load(remote.session, spec, asyncio.Event(), raising, lambda line: None, lambda trial: None)
    assert not remote.session.frame.load.running


def test_a_search_that_cannot_be_shown_leaves_nothing_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(progress: Progress) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Progress, "clear", fail)
    with store_in(tmp_path) as store:
        spec = MaxLoadSpec(LoadSpec(1), 100.0)
        with pytest.raises(BrokenPipeError):
            max_load.max_load_once(SessionOptions(connect="127.0.0.1:1"), spec, store=store, as_json=False)
        assert list_sweeps(store) == [], "it has no trial"


async def test_a_measurement_is_kept_though_coalescing_cannot_be_set_back(
    remote: Remote, capsys: pytest.CaptureFixture[str]
) -> None:
    session, configure = remote.session, remote.session.configure

    async def once(**knobs: Any) -> None:
        await configure(**knobs)
        session.configure = refuse  # type: ignore[method-assign]

    async def refuse(**knobs: Any) -> None:
        raise CommandRefused("the engine is gone")

    session.configure = once  # type: ignore[method-assign]
    spec = RunSpec(LoadSpec(1, 1), duration_s=1.0, warm_up_s=0.0)
    measurement = await _measure(session, spec, "off", Progress(io.StringIO()), asyncio.Event(), None)
    assert measurement.rates is not None
    assert "coalescing stays off: the engine is gone" in capsys.readouterr().err


# ---- a sweep, and what is made of one


def planned() -> SweepPlan:
    return plan_sweep(parse_spec(GRID, "test", "test"), None)


def measuring(state: SweepState) -> bool:
    return state.doing.startswith(("measuring", "warming up"))


async def interrupted_sweep(
    remote: Remote, interrupt: Callable[[Sweep, asyncio.Task[SweepState]], object]
) -> tuple[Sweep, asyncio.Task[SweepState]]:
    """A sweep that is interrupted while its cell is measured, and has ended."""
    seen = asyncio.Event()

    def changed(state: SweepState) -> None:
        if measuring(state):
            assert remote.state == ("onnx", False, 77)
            seen.set()

    sweep = Sweep(remote.session, planned(), None, changed)
    running = asyncio.create_task(sweep.run())
    await seen.wait()
    interrupt(sweep, running)
    await asyncio.wait({running})
    return sweep, running


async def test_a_cancelled_sweep_gives_the_engine_back(remote: Remote) -> None:
    sweep, running = await interrupted_sweep(remote, lambda sweep, running: running.cancel())
    assert running.cancelled()
    assert remote.state == AS_FOUND
    assert not remote.session.frame.load.running
    assert sweep.state.ended


async def test_a_sweep_that_is_stopped_at_once_gives_the_engine_back(remote: Remote) -> None:
    _, running = await interrupted_sweep(remote, lambda sweep, running: sweep.stop_now())
    assert running.result().points[0].status is PointStatus.SKIPPED
    assert remote.state == AS_FOUND


@pytest.mark.parametrize("step", ["verifying", "cut_over"])
async def test_a_sweep_that_is_stopped_in_the_middle_of_a_switch_gives_the_engine_back(
    remote: Remote, step: str
) -> None:
    sweep, link = Sweep(remote.session, planned()), remote.session._engine
    stands_at = link.set_switch_phase

    def stopped_at(phase: Phase, requested: Deployment) -> None:
        stands_at(phase, requested)
        if phase.name == step:
            sweep.stop_now()

    remote.engine.switch_step_s = 0.05
    link.set_switch_phase = stopped_at  # type: ignore[method-assign]
    state = await sweep.run()
    assert state.points[0].status is PointStatus.SKIPPED
    await remote.session.wait_until_switched()
    assert remote.state == AS_FOUND


def broken_progress(state: SweepState) -> None:
    if measuring(state) or state.ended or "back" in state.doing:
        raise Fault


async def test_a_sweep_whose_listener_fails_gives_the_engine_back_and_is_ended(remote: Remote, tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        sweep = Sweep(remote.session, plan_sweep(parse_spec(GRID, "test", "test"), store), store, broken_progress)
        with pytest.raises(Fault):
            await sweep.run()
        assert remote.state == AS_FOUND
        assert not remote.session.frame.load.running
        assert sweep.state.ended
        (cell,) = sweep.state.points
        assert (cell.status, cell.message) == (PointStatus.FAILED, "Fault: ")
        (kept,) = list_sweeps(store)
        assert kept.ended_at


async def test_a_live_comparison_that_fails_gives_the_engine_back(remote: Remote) -> None:
    plan = LivePlan((parse_side("onnx fp32 coalesce=off max-batch-tokens=77", ENDLESS),), 1)

    class Broken(SweepProgress):
        def show(self, state: SweepState) -> None:
            broken_progress(state)

    with pytest.raises(Fault):
        await run_sweep(
            SessionOptions(connect=remote.address),
            plan_sweep(SweepSpec(plan.name, 0, 1, plan.points, ""), None),
            None,
            Broken(io.StringIO()),
            "",
        )
    assert remote.state == AS_FOUND


async def short_sweep(remote: Remote, grid: str = "") -> SweepState:
    spec = parse_spec(GRID.replace("600s", "1s") + grid, "test", "test")
    return await Sweep(remote.session, plan_sweep(spec, None)).run()


async def test_the_way_back_does_not_name_the_model_that_was_live_all_the_time(remote: Remote) -> None:
    asked: list[tuple[str, int]] = []
    switch = remote.session.switch

    async def noted(target: Any, **how: Any) -> None:
        asked.append((target.model, target.instances))
        await switch(target, **how)

    remote.engine.requested.CopyFrom(remote.engine.live)  # as an engine reports it: the model's id, the plan's counts
    await remote.session.switch(remote.session.frame.engine.effective)
    await remote.session.wait_until_switched()
    remote.session.switch = noted  # type: ignore[method-assign]
    await short_sweep(remote)
    assert asked == [("", 0), ("", 0)], "there and back; what the engine chose, it chooses again"
    assert remote.state == AS_FOUND


async def test_batch_sizes_that_the_engine_had_chosen_itself_are_its_own_to_choose_again(remote: Remote) -> None:
    turned: list[dict[str, Any]] = []
    configure, status = remote.session.configure, remote.session._engine._apply_status

    async def noted(**knobs: Any) -> None:
        turned.append(knobs)
        await configure(**knobs)

    def with_plan(found: Any) -> None:
        found.plan.max_batch_tokens = 4096
        status(found)

    remote.session._engine._apply_status = with_plan  # type: ignore[method-assign,assignment]
    await remote.session._engine._refresh()
    remote.session.configure = noted  # type: ignore[method-assign]
    await short_sweep(remote)
    assert turned == [{"coalesce": False, "max_batch_tokens": 77}, {"coalesce": True, "max_batch_tokens": 0}]


async def test_an_engine_that_cannot_be_given_back_is_told(remote: Remote) -> None:
    switch = remote.session.switch

    async def only_there(target: Any, **how: Any) -> None:
        if target.backend == "torch":
            raise CommandRefused("torch is gone")
        await switch(target, **how)

    remote.session.switch = only_there  # type: ignore[method-assign]
    state = await short_sweep(remote)
    assert state.points[0].status is PointStatus.DONE
    assert state.trouble == "the engine does not serve torch·fp32 again, as before: torch is gone"
    assert remote.state[1:] == AS_FOUND[1:]
