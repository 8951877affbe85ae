"""A sweep measures every cell on one engine, survives what happens to it, and can be gone on with."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.model.engine import EngineState
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.database import Store
from console.store.read import RunFilter, list_runs, load_run
from console.sweep.runner import Sweep, SweepPlan, plan_sweep
from console.sweep.spec import parse_spec
from console.sweep.state import PointStatus, SweepState
from tests.support.fake_engine import FakeEngine, start_server
from tests.unit.console.support.made import store_in

COMMAND = (sys.executable, "-m", "tests.support.fake_engine", "--delay-ms", "5")
SHORT = 'duration = "1s"\nwarm_up = "0s"\nseed = 1\n'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_in(tmp_path) as opened:
        yield opened


def planned(grid: str, store: Store | None, *, resume: bool = False, head: str = SHORT) -> SweepPlan:
    return plan_sweep(parse_spec(f"{head}[grid]\n{grid}", "test", "test"), store, resume=resume)


async def swept(
    plan: SweepPlan,
    store: Store | None,
    meanwhile: Callable[[Sweep, Session, SweepState], None] = lambda sweep, session, state: None,
    connect: str = "",
    flags: tuple[str, ...] = (),
) -> SweepState:
    """`meanwhile` sees every snapshot."""
    options = SessionOptions(engine=plan.points[0].engine_spec, engine_command=(*COMMAND, *flags), connect=connect)
    async with Session(options) as session:
        sweep = Sweep(session, plan, store, lambda state: meanwhile(sweep, session, state))
        return await sweep.run()


def statuses(state: SweepState) -> list[PointStatus]:
    return [one.status for one in state.points]


async def test_every_cell_is_measured_on_one_engine_and_stored_as_it_ends(store: Store) -> None:
    plan = planned("backends = ['onnx', 'torch']\nprecisions = 'fp32'\ncoalescing = [true, false]\n", store)
    seen: list[SweepState] = []
    pids = set()

    def watch(sweep: Sweep, session: Session, state: SweepState) -> None:
        seen.append(state)
        if session.frame.engine.pid:
            pids.add(session.frame.engine.pid)
        stored = len([row for row in list_runs(store) if row.verdict != "unfinished"])
        assert stored >= state.count(PointStatus.DONE) or state.count(PointStatus.RUNNING)

    state = await swept(plan, store, watch)
    assert statuses(state) == [PointStatus.DONE] * 4
    assert len(pids) == 1
    assert state.ended
    assert state.left_s == 0
    for one in state.points:
        assert one.figures is not None
        row = load_run(store, one.figures.run_id).row
        assert (row.sweep_id, row.cell_hash) == (plan.sweep_id, one.point.hash)
        assert row.effective.backend == one.point.target.backend
        assert bool(row.coalesce) is one.point.coalesce
        assert one.figures.texts_per_s is not None
    running = [place for snapshot in seen if (place := snapshot.running) is not None]
    assert running == sorted(running), "in the planned order"
    assert seen[0].left_s > seen[-2].left_s


async def test_a_deployment_that_the_engine_refuses_fails_its_cells_and_the_others_go_on(store: Store) -> None:
    plan = planned("backends = 'onnx'\nprecisions = ['int4', 'fp32', 'int8']\nbatch = [1, 2]\n", store)
    cells = sorted(plan.points, key=lambda cell: cell.target.precision)  # fp32 first, so that an engine runs
    state = await swept(replace(plan, points=tuple(cells)), store)
    by_precision = {one.point.target.precision: one for one in state.points}
    assert by_precision["fp32"].status is PointStatus.DONE
    assert by_precision["int4"].status is PointStatus.FAILED
    assert "int4 cannot run" in by_precision["int4"].message
    fallback = by_precision["int8"]
    assert fallback.fell_back == "int8 is not built yet: fp32 is used"
    assert fallback.figures is not None
    assert fallback.figures.effective.precision == "fp32"
    assert len(list_runs(store, RunFilter(verdict="failed"))) == 2


async def test_an_engine_that_does_not_start_fails_each_deployment_once_with_its_own_words(store: Store) -> None:
    plan = planned("backends = ['onnx', 'torch']\nprecisions = 'fp32'\nbatch = [1, 2]\n", store)
    starts: list[str] = []

    def count(sweep: Sweep, session: Session, state: SweepState) -> None:
        if state.doing.startswith("starting the engine"):
            starts.append(state.doing)

    state = await swept(plan, store, count, flags=("--fail-start", "5"))
    assert statuses(state) == [PointStatus.FAILED] * 4
    assert {one.message for one in state.points} == {"no backend 'nope': choose torch or onnx"}
    assert sorted(set(starts)) == ["starting the engine: onnx·fp32", "starting the engine: torch·fp32"]
    assert [row.requested.cell for row in list_runs(store, RunFilter(verdict="failed"))].count("onnx·fp32") == 2


async def test_a_lost_engine_fails_its_cell_is_restarted_and_the_sweep_goes_on(store: Store) -> None:
    plan = planned("backends = 'onnx'\nprecisions = 'fp32'\nbatch = [1, 2, 4]\n", store)
    killed: list[int] = []

    def kill(sweep: Sweep, session: Session, state: SweepState) -> None:
        engine = session.frame.engine
        if state.running == 1 and state.doing.startswith("measuring") and not killed and engine.pid:
            killed.append(engine.pid)
            os.kill(engine.pid, signal.SIGKILL)

    state = await swept(plan, store, kill)
    assert killed
    assert statuses(state) == [PointStatus.DONE, PointStatus.FAILED, PointStatus.DONE]
    assert "the engine was lost (killed by SIGKILL)" in state.points[1].message


async def test_resuming_measures_what_failed_was_interrupted_or_is_new(store: Store) -> None:
    grid = "backends = 'onnx'\nprecisions = 'fp32'\nbatch = [1, 2, 4]\n"
    first = planned(grid, store)

    def stop(sweep: Sweep, session: Session, state: SweepState) -> None:
        if state.running == 1 and state.doing.startswith("measuring"):
            sweep.stop_now()

    state = await swept(first, store, stop)
    assert statuses(state) == [PointStatus.DONE, PointStatus.SKIPPED, PointStatus.SKIPPED]
    assert "not reached" in state.points[2].message
    again = planned(grid.replace("4", "4, 8"), store, resume=True)
    assert again.sweep_id == first.sweep_id
    assert set(again.done) == {state.points[0].point.hash}
    assert len(again.left) == 3
    resumed = await swept(again, store)
    assert statuses(resumed) == [PointStatus.DONE] * 4
    assert [one.resumed for one in resumed.points].count(True) == 1
    assert not planned(grid, store, resume=True).left


async def test_finishing_the_cell_keeps_it_whole_and_leaves_the_rest_out(store: Store) -> None:
    plan = planned("batch = [1, 2]\n", store)

    def finish(sweep: Sweep, session: Session, state: SweepState) -> None:
        if state.running == 0:
            sweep.finish_point()

    assert statuses(await swept(plan, store, finish)) == [PointStatus.DONE, PointStatus.SKIPPED]
    assert [bool(row.interrupted) for row in list_runs(store)] == [False]


async def test_stopping_while_the_engine_starts_is_at_once(store: Store) -> None:
    plan = planned("batch = [1, 2]\n", store)

    def stop(sweep: Sweep, session: Session, state: SweepState) -> None:
        if session.frame.engine.state is EngineState.STARTING or state.doing.startswith("starting"):
            asyncio.get_running_loop().call_soon(sweep.stop_now)

    assert statuses(await swept(plan, store, stop)) == [PointStatus.SKIPPED] * 2
    assert list_runs(store) == []


async def test_a_waiting_cell_can_be_skipped_and_the_sweep_paused(store: Store) -> None:
    plan = planned("batch = [1, 2]\n", store)
    paused: list[bool] = []

    def skip(sweep: Sweep, session: Session, state: SweepState) -> None:
        if state.running == 0 and state.points[1].status is PointStatus.WAITING:
            sweep.skip(1)
            sweep.pause()
            asyncio.get_running_loop().call_later(0.1, sweep.resume)
        paused.append(state.paused)

    state = await swept(plan, store, skip)
    assert statuses(state) == [PointStatus.DONE, PointStatus.SKIPPED]
    assert True in paused


async def test_an_engine_that_runs_already_is_left_as_it_was_found() -> None:
    engine = FakeEngine("torch", "fp32", delay_s=0.005)
    server, address = await start_server(engine)
    plan = planned("backends = 'onnx'\nprecisions = 'fp32'\ncoalescing = false\nmax_batch_tokens = 77\n", None)
    try:
        during: list[tuple[str, bool, int]] = []

        def watch(sweep: Sweep, session: Session, state: SweepState) -> None:
            if state.doing.startswith("measuring"):
                during.append((engine.live.backend, engine.batching.coalesce, engine.batching.max_batch_tokens))

        state = await swept(plan, None, watch, connect=address)
        assert statuses(state) == [PointStatus.DONE]
        assert set(during) == {("onnx", False, 77)}
        assert (engine.live.backend, engine.batching.coalesce) == ("torch", True)
        assert engine.batching.max_batch_tokens == 4096
    finally:
        await server.stop(None)


async def test_an_engine_elsewhere_that_does_not_answer_ends_the_sweep_with_its_address() -> None:
    state = await swept(planned("batch = [1, 2]\n", None), None, connect="127.0.0.1:1")
    assert statuses(state) == [PointStatus.FAILED, PointStatus.SKIPPED]
    assert "nothing listens at 127.0.0.1:1" in state.points[0].message


async def test_fidelity_is_measured_once_a_deployment_and_kept_beside_the_speed(store: Store) -> None:
    engine = FakeEngine("onnx", "fp32", delay_s=0.005)
    server, address = await start_server(engine)
    plan = planned("batch = [1, 2]\n", store, head=f"fidelity = true\n{SHORT}")
    try:
        state = await swept(plan, store, connect=address)
    finally:
        await server.stop(None)
    assert engine.fidelity_asked == 1
    for one in state.points:
        assert one.figures is not None
        assert one.figures.fidelity == pytest.approx(0.999)
        report = load_run(store, one.figures.run_id).report
        assert report is not None
        assert report["fidelity"]["grade"] == "green"
        assert report["fidelity"]["cosine_mean"] == pytest.approx(0.999)
    with store.reading() as connection:
        row = connection.execute("SELECT * FROM fidelity").fetchone()
        assert (row["texts"], row["grade"]) == (12, "green")
        assert (row["cosine_p1"], row["overlap_at_10"]) == (pytest.approx(0.998), pytest.approx(0.97))
