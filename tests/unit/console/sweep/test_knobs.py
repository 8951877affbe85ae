"""A sweep measures its points under the knobs that it names, whatever was set by hand before, also when it resumes."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from console.model.engine import EngineSpec
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.database import Store
from console.store.read import RunFilter, list_runs
from console.sweep.labels import inherited_settings
from console.sweep.runner import Sweep, SweepPlan, plan_sweep
from console.sweep.spec import parse_spec, preset
from console.sweep.state import PointStatus, SweepState
from tests.support.fake_engine import FakeEngine, start_server
from tests.unit.console.support.made import store_in
from tests.unit.console.sweep.test_runner import COMMAND, SHORT


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_in(tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[tuple[FakeEngine, str]]:
    """A remote engine whose knobs somebody has set by hand."""
    fake = FakeEngine("torch", "fp32", delay_s=0.005)
    fake.batching.coalesce = False
    fake.batching.max_wait_ms = 50
    server, address = await start_server(fake)
    yield fake, address
    await server.stop(None)


def planned(grids: str, store: Store | None, *, resume: bool = False) -> SweepPlan:
    return plan_sweep(parse_spec(SHORT + grids, "test", "test"), store, resume=resume)


async def swept(address: str, plan: SweepPlan, store: Store | None) -> SweepState:
    async with Session(SessionOptions(connect=address)) as session:
        return await Sweep(session, plan, store).run()


ONE = "[grid]\nbackends = 'onnx'\nprecisions = 'fp32'\n"
TWO = ONE + "batch = [1, 2]\n"


async def test_a_knob_that_a_sweep_does_not_name_has_its_default_and_not_what_was_set_by_hand(
    engine: tuple[FakeEngine, str], store: Store
) -> None:
    fake, address = engine
    await swept(address, planned(ONE, store), store)
    (row,) = list_runs(store)
    assert (row.coalesce, row.max_wait_ms) == (1, 0.0)
    assert (fake.batching.coalesce, fake.batching.max_wait_ms) == (False, 50), "as it was found"


async def test_a_named_knob_is_measured_as_it_is_named(engine: tuple[FakeEngine, str], store: Store) -> None:
    _, address = engine
    await swept(address, planned(ONE + "coalescing = [false, true]\nmax_wait_ms = 3\n", store), store)
    assert {(row.coalesce, row.max_wait_ms) for row in list_runs(store)} == {(0, 3.0), (1, 3.0)}


@pytest.mark.parametrize("column", ["coalesce = 0", "max_wait_ms = 50"])
async def test_a_point_that_was_measured_under_other_knobs_is_measured_on_resume(
    engine: tuple[FakeEngine, str], store: Store, column: str
) -> None:
    _, address = engine
    state = await swept(address, planned(TWO, store), store)
    assert not planned(TWO, store, resume=True).left
    first = state.points[0]
    assert first.figures is not None
    with store.writing() as connection:
        connection.execute(f"UPDATE run SET {column} WHERE id = ?", (first.figures.run_id,))  # noqa: S608 - a constant
    assert [point.hash for point in planned(TWO, store, resume=True).left] == [first.point.hash]


async def test_a_deployment_that_is_inherited_is_measured_again_on_resume_if_another_one_is_live(
    engine: tuple[FakeEngine, str], store: Store
) -> None:
    fake, address = engine
    as_it_is = "[grid]\nbatch = [1, 2]\n"
    await swept(address, planned(as_it_is, store), store)
    again = await swept(address, planned(as_it_is, store, resume=True), store)
    assert all(one.resumed for one in again.points), "the same deployment is live"
    fake.live.backend = fake.requested.backend = "onnx"
    other = await swept(address, planned(as_it_is, store, resume=True), store)
    assert [one.status for one in other.points] == [PointStatus.DONE] * 2
    assert {one.figures.effective.backend for one in other.points if one.figures} == {"onnx"}
    assert not any(one.resumed for one in other.points)


async def test_a_model_that_is_inherited_is_measured_again_on_resume_if_another_one_is_live(
    engine: tuple[FakeEngine, str], store: Store
) -> None:
    fake, address = engine
    await swept(address, planned(TWO, store), store)
    fake.live.model = "fake/another"
    other = await swept(address, planned(TWO, store, resume=True), store)
    assert not any(one.resumed for one in other.points)
    assert {row.model for row in list_runs(store, RunFilter(limit=2))} == {"fake/another"}


async def test_a_point_without_a_deployment_is_measured_on_the_one_that_was_live_before_the_sweep(
    engine: tuple[FakeEngine, str], store: Store
) -> None:
    _, address = engine
    grids = "".join(f"[[grid]]\n{axes}batch = {batch}\n" for batch, axes in ((1, ONE[7:]), (2, ""), (4, ONE[7:])))
    plan = planned(grids, store)
    by_batch = tuple(sorted(plan.points, key=lambda point: point.run.load.batch))
    state = await swept(address, replace(plan, points=by_batch), store)
    ran = {one.point.run.load.batch: one.figures.effective.backend for one in state.points if one.figures}
    assert ran == {1: "onnx", 2: "torch", 4: "onnx"}


async def test_an_engine_that_a_sweep_starts_keeps_the_model_and_device_of_its_session(store: Store) -> None:
    started: list[EngineSpec] = []
    options = SessionOptions(engine=EngineSpec(model="fake/mine", device="cpu"), engine_command=COMMAND)
    async with Session(options) as session:
        start = session._engine.start

        async def noted(spec: EngineSpec) -> None:
            started.append(spec)
            await start(spec)

        session._engine.start = noted  # type: ignore[method-assign]
        await Sweep(session, planned(ONE, store), store).run()
    assert [(spec.model, spec.device, spec.backend) for spec in started] == [("fake/mine", "cpu", "onnx")]


def test_what_a_sweep_inherits_is_named() -> None:
    assert inherited_settings(preset("quick").points) == ("model", "device")
    as_it_is = parse_spec("[grid]\nbatch = 1\n", "test", "test").points
    assert inherited_settings(as_it_is) == ("backend", "precision", "model", "device")
    both = parse_spec("model = 'm'\ndevice = 'cpu'\n" + ONE, "test", "test").points
    assert inherited_settings(both) == ()
