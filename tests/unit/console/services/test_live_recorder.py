"""Every load of Live is a run in the store, and its replay shows the figures that Live showed."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.model.load import LoadSpec
from console.model.switch import SwitchDelta
from console.output.replay import Replay
from console.output.runs import as_object, as_text
from console.services.live_recorder import LiveRecorder
from console.services.runs import RunLibrary, searchable_text
from console.store.database import Store, StoreError
from console.store.opened_run import OpenedRun
from console.store.read import LAST, LAST_SWEEP, list_runs, load_run, resolve_run
from console.store.selectors import resolve_selector
from console.store.spill import restore_spill
from tests.unit.console.support.simulated import FP32, INT8, SimulatedSession


class Recorded:
    """A simulated session with a recorder, and the store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs.sqlite"
        self.folder = folder
        self.live = SimulatedSession()
        self.recorder = LiveRecorder(self.live.session, self.path, spill_folder=folder)

    async def written(self) -> None:
        """Everything is in the store, as far as it takes it."""
        await asyncio.sleep(0)
        while self.recorder._jobs:
            await asyncio.wait(self.recorder._jobs)
            await asyncio.sleep(0)

    async def runs(self) -> list[OpenedRun]:
        """The stored runs, oldest first."""
        await self.written()
        library = RunLibrary(self.path)
        return [await library.run(listed.row.run_id) for listed in reversed(await library.runs())]


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Recorded]:
    made = Recorded(tmp_path)
    yield made
    await made.recorder.close()


async def a_minute_with_a_switch(it: Recorded) -> OpenedRun:
    it.live.start_load()
    it.live.run(20, 100, 20.0)
    it.live.begin_switch()
    it.live.run(2, 80, 25.0)
    it.live.complete_switch()
    for _ in range(20):
        it.live.run(1, 240, 8.0)
        it.live.clock_s += 0.001
        await asyncio.sleep(0)  # the fidelity is read in a task
    it.live.session.mark("a mark", it.live.now_s - 1.0)
    it.live.run(18, 240, 8.0)
    it.live.stop_load()
    (run,) = await it.runs()
    return run


def close(one: object, other: object) -> bool:
    """Whether two figures, or two structures of figures, agree to a millionth."""
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-6, abs=1e-9)
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(
            close(getattr(one, n), getattr(other, n)) for n in one.__dataclass_fields__
        )
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(close, one, other))
    return one == other


def at_load_s(deltas: tuple[SwitchDelta, ...], started_s: float) -> tuple[SwitchDelta, ...]:
    return tuple(replace(delta, time_s=delta.time_s - started_s) for delta in deltas)


async def test_a_minute_with_a_switch_replayed_shows_the_same_figures_as_it_did_live(it: Recorded) -> None:
    run = await a_minute_with_a_switch(it)
    replay, started_s = Replay(run), it.live.session._load._started_s
    compared = 0
    for live in it.live.frames:
        position_s = live.now_s - started_s
        if not live.load.running or position_s > replay.length_s:
            continue
        shown = replay.at(position_s)
        assert close(shown.window, live.window), position_s
        assert close(shown.deltas, at_load_s(live.deltas, started_s)), position_s
        points = tuple(replace(point, time_s=point.time_s - started_s) for point in live.points)
        assert close(tuple(shown.points), points), position_s
        assert (shown.load.requests, shown.load.texts, shown.load.warming_up) == (
            live.load.requests,
            live.load.texts,
            live.load.warming_up,
        ), position_s
        assert shown.engine.effective == live.engine.effective, position_s
        compared += 1
    assert compared > 600
    end = replay.at(replay.length_s)
    assert end.deltas[0].verdict == "faster"
    assert end.deltas[0].fidelity is not None
    assert [(marker.name, marker.label) for marker in end.markers] == [
        ("S1", "onnx·fp32 → onnx·int8·dynamic"), ("M1", "a mark"),
    ]  # fmt: skip


async def test_a_deployment_and_a_knob_are_segments_of_their_own_and_the_figures_are_those_of_the_longest(
    it: Recorded,
) -> None:
    it.live.start_load()
    it.live.run(10, 100)
    it.live.begin_switch()
    it.live.run(2, 50)
    it.live.complete_switch()
    it.live.run(30, 200)
    it.live.configure(coalesce=False)
    it.live.run(8, 20)
    it.live.stop_load()
    (run,) = await it.runs()
    assert run.run.live is not None
    segments = run.run.live.segments
    assert [(one.effective.precision, one.batching.coalesce) for one in segments] == [
        ("fp32", True), ("int8", True), ("int8", False),
    ]  # fmt: skip
    assert [round(one.start_s) for one in segments] == [0, 12, 42]
    assert [round(one.end_s or 0) for one in segments] == [10, 42, 50]
    assert [one.change for one in segments] == ["", "onnx·fp32 → onnx·int8·dynamic", "coalescing off"]
    row = run.run.row
    assert (row.origin, row.effective.precision, row.coalesce) == ("live", "int8", 1)
    assert row.texts_per_s == pytest.approx(200 * 8, rel=0.06), "nothing of the other segments"
    assert row.duration_s == pytest.approx(25, abs=1.1), "the first five seconds after the switch are left out"
    assert row.fidelity == 0.99


async def test_a_switch_that_is_cancelled_leaves_its_seconds_out(it: Recorded) -> None:
    it.live.start_load()
    it.live.run(6)
    it.live.begin_switch()
    it.live.run(3)
    it.live.cancel_switch()
    it.live.run(3)
    it.live.stop_load()
    (run,) = await it.runs()
    assert run.run.live is not None
    assert [one.effective for one in run.run.live.segments] == [FP32, FP32]
    assert run.run.live.segments[1].change == "the switch did not take place"


async def test_a_changed_load_is_another_run_and_a_load_without_an_interval_is_none(it: Recorded) -> None:
    it.live.start_load(LoadSpec(8, 4))
    it.live.run(5)
    it.live.change_load(LoadSpec(16, 4))
    it.live.change_load(LoadSpec(32, 4))
    it.live.run(5)
    it.live.stop_load()
    first, second = await it.runs()
    assert (first.run.row.batch, second.run.row.batch) == (8, 32)
    assert [len(run.run.intervals) for run in (first, second)] == [5, 6]
    assert second.run.intervals[0].start_s == pytest.approx(0, abs=0.01)
    assert any(text.startswith("load changed to") for *_, text in second.run.events)
    end = Replay(second).at(5.0)
    assert end.load.requests < 700, "what was sent before is not counted"


async def test_what_an_experiment_measures_is_recorded_by_it_alone(it: Recorded) -> None:
    it.live.start_load(experiment=True)
    assert not it.recorder.state.running
    it.live.run(4)
    it.live.stop_load()
    await it.written()
    assert not it.path.exists()
    assert it.recorder.state.notices == 0


async def test_the_state_says_what_is_recorded_and_the_notice_names_the_run(it: Recorded) -> None:
    it.live.start_load()
    state = it.recorder.state
    assert state.running
    assert state.run_id.startswith("r-")
    it.live.run(2)
    await it.recorder.name("my first run")
    it.live.stop_load()
    (run,) = await it.runs()
    assert run.run.row.run_id == state.run_id
    assert run.run.row.tags == ("my-first-run",)
    assert it.recorder.state.notice == f"Recorded as {state.run_id} #my-first-run: {{live_run}} names or discards it"
    await it.recorder.name("better")
    (run,) = await it.runs()
    assert run.run.row.tags == ("better",)
    with pytest.raises(CommandRefused, match="is not a tag"):
        await it.recorder.name("a,b")


async def test_a_run_is_discarded_at_its_stop_unless_it_is_kept_again_or_afterwards(it: Recorded) -> None:
    with pytest.raises(CommandRefused, match="No load was recorded yet"):
        await it.recorder.discard()
    for keeps in (True, False):
        it.live.start_load()
        it.live.run(2)
        await it.recorder.discard()
        if keeps:
            await it.recorder.keep()
        it.live.stop_load()
        assert len(await it.runs()) == 1
    it.live.start_load()
    it.live.run(2)
    it.live.stop_load()
    assert len(await it.runs()) == 2
    await it.recorder.discard()
    assert len(await it.runs()) == 1
    assert it.recorder.state.notice.startswith("Discarded r-")
    with pytest.raises(CommandRefused, match="was discarded"):
        await it.recorder.name("late")


async def test_a_load_whose_engine_or_generator_is_lost_is_a_failed_run_with_the_reason(it: Recorded) -> None:
    it.live.start_load()
    it.live.run(5)
    it.live.exit_driver()
    it.live.start_load()
    it.live.run(5)
    it.live.lose_engine()
    generator, engine = await it.runs()
    assert (generator.run.row.verdict, engine.run.row.verdict) == ("failed", "failed")
    assert "load generator exited unexpectedly" in generator.run.row.failure
    assert "the engine no longer serves" in engine.run.row.failure


async def test_last_is_a_live_run_that_has_ended_and_the_last_sweep_never_one(it: Recorded) -> None:
    it.live.start_load()
    it.live.run(5)
    it.live.stop_load()
    it.live.start_load()
    it.live.run(2)
    await it.written()
    with Store.open(it.path) as store:
        running, ended = list_runs(store)
        assert (running.verdict, ended.origin) == ("running", "live")
        assert resolve_run(store, LAST) == ended.run_id
        with pytest.raises(StoreError, match="no sweep yet"):
            resolve_selector(store, LAST_SWEEP)


async def test_a_console_that_dies_leaves_every_interval_and_its_segments(it: Recorded) -> None:
    it.live.start_load()
    it.live.run(8, 100)
    it.live.begin_switch()
    it.live.run(1)
    it.live.complete_switch()
    it.live.run(20, 200)
    (run,) = await it.runs()
    assert run.run.report is None
    assert run.report["throughput"]["texts_per_s"] == pytest.approx(1600, rel=0.06), "of the longest segment"
    assert Replay(run).at(20.0).engine.effective == INT8


async def test_a_store_that_is_locked_holds_up_nothing_and_has_everything_afterwards(it: Recorded) -> None:
    Store.open(it.path).close()
    other = sqlite3.connect(it.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    it.live.start_load()
    it.live.run(3)
    await it.written()
    assert "locked" in it.recorder.state.trouble
    other.execute("ROLLBACK")
    other.close()
    it.live.run(3)
    await it.written()
    assert it.recorder.state.trouble == ""
    it.live.stop_load()
    (run,) = await it.runs()
    assert len(run.run.intervals) == 7
    assert run.run.row.verdict != "unfinished"


async def test_a_store_that_cannot_be_written_leaves_the_whole_run_in_a_spill_file(it: Recorded) -> None:
    it.path.mkdir()  # where the file should be
    run_frames = await _load_with_a_switch(it)
    await it.written()
    assert "\nKept in " in it.recorder.state.notice
    assert "embedconsole runs restore" in it.recorder.state.notice
    (spill,) = it.folder.glob("r-*.json")
    with Store.open(it.folder / "other.sqlite") as store:
        run_id = restore_spill(store, spill)
        found = load_run(store, run_id)
    assert found.row.origin == "live"
    assert found.row.tags == ("kept",)
    assert found.live is not None
    assert [one.effective.precision for one in found.live.segments] == ["fp32", "int8"]
    assert found.live.switches.final[0].verdict == "faster"
    assert len(found.live.ticks) == 10 * 36
    assert run_frames[-1].deltas


async def _load_with_a_switch(it: Recorded) -> list[Frame]:
    it.live.start_load()
    it.live.run(14, 100)
    await it.recorder.name("kept")
    it.live.begin_switch()
    it.live.run(2)
    it.live.complete_switch()
    it.live.run(20, 200)
    it.live.stop_load()
    return it.live.frames


async def test_a_switch_that_settles_after_the_load_is_kept_as_it_settled(it: Recorded) -> None:
    it.live.start_load()
    it.live.run(10)
    it.live.begin_switch()
    it.live.run(1)
    it.live.complete_switch()
    it.live.run(2)
    it.live.stop_load()
    it.live.clock_s += 1.0
    it.live.session._measure_deltas()  # as the heartbeat does
    (run,) = await it.runs()
    (delta,) = Replay(run).at(13.2).deltas
    assert delta.settled
    assert delta.verdict == "changed again before it settled"


async def test_leaving_ends_the_run_and_says_where_it_is(it: Recorded) -> None:
    it.live.start_load()
    it.live.run(4)
    said = await it.recorder.close()
    assert said.startswith("Recorded as r-")
    assert [run.run.row.verdict != "unfinished" for run in await it.runs()] == [True]


async def test_runs_show_says_what_each_segment_reached_and_what_the_switch_changed(it: Recorded) -> None:
    run = await a_minute_with_a_switch(it)
    text, shown = as_text(run.run), as_object(run.run)
    assert "segment 1   0 to 20 s: onnx·fp32, " in text
    assert "(the figures above)" in text
    assert ": faster" in text
    assert "from Live" in text
    assert [one["main"] for one in shown["segments"]] == [False, True]
    assert shown["switches"][0]["verdict"] == "faster"
    assert [one.is_main for one in run.segments] == [False, True]
    assert "live" in searchable_text(run.run.row).split()
