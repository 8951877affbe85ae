"""A run is in the store while it is measured; trouble with the store costs neither the run nor its report."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.measure.measurement import Measurement
from console.measure.recorder import Recorder
from console.measure.run import run
from console.measure.run_writer import BUSY_TIMEOUT_WHILE_MEASURING_S
from console.measure.spec import RunSpec
from console.model.load import LoadSpec
from console.model.verdicts import NOT_ENDED, Verdict
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.database import BUSY_TIMEOUT_S, Store, StoreError
from console.store.read import list_runs, load_run
from console.store.spill import restore_spill
from tests.unit.console.support.made import GOOD, store_in

COMMAND = (sys.executable, "-m", "tests.support.fake_engine", "--delay-ms", "5")
SPEC = RunSpec(LoadSpec(8, 2), duration_s=2.0, warm_up_s=0.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_in(tmp_path) as opened:
        yield opened


async def measured(recorder: Recorder) -> tuple[Measurement, Path | None]:
    async with Session(SessionOptions(engine_command=COMMAND, start=True)) as session:
        measurement = await run(session, SPEC, lambda frame, left_s: None, asyncio.Event(), recorder)
        return measurement, recorder.finish(measurement, session.frame.log)


async def test_every_second_is_in_the_store_with_the_events_and_the_environment(store: Store) -> None:
    measurement, spill = await measured(Recorder(store, SPEC))
    assert spill is None
    found = load_run(store, measurement.run_id)
    assert found.report is not None
    assert found.report["run_id"] == measurement.run_id
    assert sum(interval.duration_s for interval in found.intervals) >= measurement.duration_s
    assert found.intervals[0].start_s == pytest.approx(0, abs=0.5)
    assert found.row.effective.cell == "onnx·fp32"
    assert found.environment["cpu_model"] == "Fake CPU"
    assert found.report["environment"]["hash"] == found.environment["hash"]
    assert {cell.precision for cell in found.capabilities} == {"fp32", "int8", "int4"}, "however late they came"
    texts = [text for _, _, _, text in found.events]
    assert any("load started" in text for text in texts)
    assert any("engine ready" in text for text in texts)


class Stumbling(Store):
    """Refuses so many transactions, then works. Notes how long it was asked to wait for others."""

    def __init__(self, store: Store, refusals: int) -> None:
        super().__init__(store._connection, store.path)
        self.refusals = refusals
        self.timeouts_s: list[float] = []

    def set_busy_timeout(self, seconds: float) -> None:
        self.timeouts_s.append(seconds)

    def writing(self):  # type: ignore[no-untyped-def]
        if self.refusals:
            self.refusals -= 1
            raise StoreError("the store is locked by another program")
        return super().writing()


class Filling(Store):
    """Takes so many transactions, then is full."""

    def __init__(self, store: Store, room: int) -> None:
        super().__init__(store._connection, store.path)
        self.room = room

    def writing(self):  # type: ignore[no-untyped-def]
        if not self.room:
            raise StoreError("no room for the store")
        self.room -= 1
        return super().writing()


async def test_a_store_that_is_locked_for_a_while_gets_everything_afterwards(store: Store) -> None:
    stumbling = Stumbling(store, 2)
    recorder = Recorder(stumbling, SPEC)
    measurement, spill = await measured(recorder)
    assert stumbling.timeouts_s == [BUSY_TIMEOUT_WHILE_MEASURING_S, BUSY_TIMEOUT_S], "only the end waits for it"
    assert spill is None
    assert recorder.trouble == ""
    found = load_run(store, measurement.run_id)
    assert sum(interval.duration_s for interval in found.intervals) >= measurement.duration_s
    assert [interval.index for interval in found.intervals] == sorted(interval.index for interval in found.intervals)


def test_a_store_that_stays_unusable_leaves_the_report_in_a_file(store: Store, tmp_path: Path) -> None:
    recorder = Recorder(Stumbling(store, 99), SPEC, spill_folder=tmp_path)
    spill = recorder.finish(GOOD)
    assert spill is not None
    assert json.loads(spill.read_text())["report"]["throughput"]["texts_per_s"] == 1280.0
    assert "locked" in recorder.trouble


async def test_a_spill_file_completes_the_run_in_the_store_or_comes_back_whole(store: Store, tmp_path: Path) -> None:
    """The store takes the beginning of the run, and then no more."""
    full = Filling(store, 2)
    measurement, spill = await measured(Recorder(full, SPEC, spill_folder=tmp_path))
    assert spill is not None
    (row,) = list_runs(store)
    assert row.verdict in NOT_ENDED, "its process has just written it"
    with Store.open(tmp_path / "other.sqlite") as other:
        for target in (store, other):
            assert restore_spill(target, spill) == measurement.run_id
            found = load_run(target, measurement.run_id)
            assert found.row.verdict == str(measurement.verdict)
            assert sum(interval.duration_s for interval in found.intervals) > 0
            assert any("load started" in text for _, _, _, text in found.events)
            with pytest.raises(StoreError, match="is already complete in the store"):
                restore_spill(target, spill)
    kept = load_run(store, measurement.run_id).intervals
    assert [interval.index for interval in kept] == sorted({interval.index for interval in kept}), "each second once"


@pytest.mark.parametrize(("text", "says"), [("{", "is not a spill file"), ("{}", "it lacks start")])
def test_a_file_that_is_no_run_is_refused(store: Store, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(StoreError, match=says):
        restore_spill(store, tmp_path / "x.json")
    with pytest.raises(StoreError, match="cannot be read"):
        restore_spill(store, tmp_path / "none.json")


def test_a_run_whose_engine_never_served_is_recorded_as_failed(store: Store) -> None:
    failed = replace(GOOD, failure="no backend 'nope'", rates=None)
    assert failed.verdict is Verdict.FAILED
    assert Recorder(store, SPEC).finish(failed) is None
    row = list_runs(store)[0]
    assert (row.verdict, row.failure, row.texts_per_s) == ("failed", "no backend 'nope'", None)


SCRIPT = """
import sys
from pathlib import Path
from console.commands.run import run_once
from console.measure.spec import RunSpec
from console.store.database import Store
from console.model.load import LoadSpec
from console.session.port import SessionOptions

command = (sys.executable, "-m", "tests.support.fake_engine", "--delay-ms", "5")
spec = RunSpec(LoadSpec(8, 2), duration_s=600.0, warm_up_s=0.0)
options = SessionOptions(engine_command=command, start=True)
sys.exit(run_once(options, spec, coalesce=None, as_json=True, store=Store.open(Path(sys.argv[1]))))
"""


async def test_a_program_killed_in_the_middle_of_a_run_loses_at_most_one_interval(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    command = [sys.executable, "-c", SCRIPT, str(path)]
    with await asyncio.to_thread(subprocess.Popen, command, stderr=subprocess.DEVNULL) as child:
        with Store.open(path) as store:
            while True:
                rows = list_runs(store)
                if rows and len(load_run(store, rows[0].run_id).intervals) >= 3:
                    break
                assert child.poll() is None
                await asyncio.sleep(0.05)  # the store is asked again and again, as a screen would
        os.kill(child.pid, signal.SIGKILL)
    with Store.open(path) as store:
        (row,) = list_runs(store)
        assert row.verdict == "unfinished"
        assert len(load_run(store, row.run_id).intervals) >= 3
