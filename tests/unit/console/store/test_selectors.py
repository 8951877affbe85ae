"""Names select what was measured: `last`, `last-sweep` and parts of ids never select what they were not meant for."""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from console.compare.gate import judge_run
from console.measure.result import as_json
from console.measure.run_writer import RunWriter
from console.model.verdicts import RUNNING, UNFINISHED
from console.report.build import report_text
from console.store import schema
from console.store.database import Store, StoreError
from console.store.liveness import HEARTBEAT_TIMEOUT_S, Liveness
from console.store.read import LAST, LAST_SWEEP, RunFilter, list_runs, list_sweeps, load_run, newest_sweep, resolve_run
from console.store.rows import interval_row
from console.store.selectors import find_sweep, resolve_selector
from console.store.write import begin_run, begin_sweep, delete_empty_sweep, finish_run
from tests.unit.console.support.intervals import second
from tests.unit.console.support.made import GOOD, record, start_of, store_in

DAY = "2026-11-23T"
AT = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_in(tmp_path) as opened:
        yield opened


def liveness(age_s: float = 0.0, host: str = "here", alive: bool = True) -> Liveness:
    """What a reader sees `age_s` after the heartbeat at AT."""
    now = datetime.fromtimestamp(AT.timestamp() + age_s, UTC)
    return Liveness(now=lambda: now, host=host, process_exists=lambda pid: alive and pid == 77)


def begun(store: Store, run_id: str = "r-running", at: str = f"{DAY}11:00:00Z") -> None:
    start = replace(start_of(replace(GOOD, run_id=run_id), at), writer_host="here", writer_pid=77)
    begin_run(store, replace(start, heartbeat_at=f"{AT:%Y-%m-%dT%H:%M:%S}Z"))


def did_not_start(store: Store, run_id: str, at: str, **more: str) -> None:
    failed = replace(GOOD, run_id=run_id, failure="the engine exited before it was ready")
    begin_run(store, start_of(failed, at, **more))
    finish_run(store, run_id, at, as_json(failed), ())


class TestRunning:
    @pytest.mark.parametrize(
        ("seen", "verdict"),
        [
            (liveness(), RUNNING),
            (liveness(HEARTBEAT_TIMEOUT_S - 1), RUNNING),
            (liveness(HEARTBEAT_TIMEOUT_S + 1), UNFINISHED),
            (liveness(alive=False), UNFINISHED),
            (liveness(host="elsewhere", alive=False), RUNNING),
            (liveness(HEARTBEAT_TIMEOUT_S + 1, host="elsewhere", alive=False), UNFINISHED),
        ],
    )
    def test_a_run_is_running_while_its_process_lives_and_writes(
        self, store: Store, seen: Liveness, verdict: str
    ) -> None:
        begun(store)
        assert [row.verdict for row in list_runs(store, liveness=seen)] == [verdict]
        for wanted in (RUNNING, UNFINISHED):
            found = list_runs(store, RunFilter(verdict=wanted, limit=1), liveness=seen)
            assert bool(found) is (wanted == verdict)

    def test_a_run_of_an_older_version_has_no_writer_and_is_not_running(self, store: Store) -> None:
        begin_run(store, start_of(GOOD))
        assert list_runs(store, liveness=liveness())[0].verdict == UNFINISHED

    def test_a_writer_says_who_it_is_and_with_every_interval_that_it_still_writes(self, store: Store) -> None:
        times = iter([f"{DAY}12:00:00.000Z", f"{DAY}12:00:50.000Z"])
        writer = RunWriter(lambda: store, start_of(GOOD, next(times)), now=lambda: next(times))
        writer.begin()
        for age_s, verdict in ((20.0, RUNNING), (50.0, UNFINISHED)):
            now = datetime.fromtimestamp(AT.timestamp() + age_s, UTC)
            here = Liveness(now=lambda now=now: now, process_exists=lambda pid: pid == os.getpid())  # type: ignore[misc]
            assert list_runs(store, liveness=here)[0].verdict == verdict
        writer.add_intervals([interval_row(second(0), None, 0.0, 0.0)])
        assert list_runs(store, liveness=here)[0].verdict == RUNNING

    def test_last_is_the_last_run_that_has_ended(self, store: Store) -> None:
        record(store, replace(GOOD, run_id="r-ended"), started_at=f"{DAY}10:00:00Z")
        begun(store)
        assert resolve_run(store, LAST) == "r-ended"

    def test_a_gate_refuses_a_run_that_is_still_measured(self, store: Store) -> None:
        begun(store)
        run = load_run(store, "r-running")
        running = replace(run, row=run.row._replace(verdict=RUNNING))
        with pytest.raises(StoreError, match="r-running is still being measured: wait until it ends"):
            judge_run(store, running, ())

    def test_a_running_run_of_a_sweep_or_tag_is_left_out_like_an_unfinished_one(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin_sweep(store, "s-1234", "night", f"{DAY}10:00:00Z", 1, 2, "")
        record(store, replace(GOOD, run_id="r-ended"), sweep_id="s-1234")
        begin_run(store, start_of(replace(GOOD, run_id="r-now"), sweep_id="s-1234"))
        monkeypatch.setattr("console.store.read.is_running", lambda *_: True)
        assert {row.verdict for row in list_runs(store)} == {"ok", RUNNING}
        assert [row.run_id for row in resolve_selector(store, "night").rows] == ["r-ended"]
        assert "1 run" in report_text(store, ["night"], "md")


class TestLast:
    def test_last_is_never_a_run_that_did_not_start(self, store: Store) -> None:
        record(store, replace(GOOD, run_id="r-ended"), started_at=f"{DAY}10:00:00Z")
        did_not_start(store, "r-refused", f"{DAY}11:00:00Z")
        assert resolve_run(store, LAST) == "r-ended"
        assert resolve_run(store, "r-refused") == "r-refused"

    def test_a_run_that_failed_while_it_was_measured_is_the_last_one(self, store: Store) -> None:
        record(store, replace(GOOD, run_id="r-lost", failure="the engine was lost"))
        assert resolve_run(store, LAST) == "r-lost"

    def test_where_nothing_has_started_last_says_so(self, store: Store) -> None:
        did_not_start(store, "r-refused", f"{DAY}11:00:00Z")
        with pytest.raises(StoreError, match="no ended run yet"):
            resolve_run(store, LAST)


class TestLastSweep:
    def sweep(self, store: Store, number: int, name: str, kind: str = "sweep", runs: int = 1) -> str:
        sweep_id = f"s-{number}234"
        begin_sweep(store, sweep_id, name, f"{DAY}{10 + number}:00:00Z", 1, 1, "", kind=kind)
        for index in range(runs):
            record(store, replace(GOOD, run_id=f"r-{sweep_id}-{index}"), sweep_id=sweep_id)
        return sweep_id

    def test_it_is_never_a_search_or_a_live_comparison_nor_a_sweep_without_a_run(self, store: Store) -> None:
        wanted = self.sweep(store, 1, "night")
        self.sweep(store, 2, "max-load", "max-load")
        self.sweep(store, 3, "live: onnx fp32 | onnx int8", "live")
        self.sweep(store, 4, "night", runs=0)
        assert find_sweep(store, LAST_SWEEP) == wanted
        assert wanted in report_text(store, [], "json")
        assert find_sweep(store, "max-load") == "s-2234", "by its name"

    def test_a_search_is_not_resumed_as_a_sweep_of_its_name(self, store: Store) -> None:
        self.sweep(store, 1, "max-load", "max-load")
        assert newest_sweep(store, "max-load") == ""

    def test_without_a_sweep_it_says_so(self, store: Store) -> None:
        self.sweep(store, 2, "max-load", "max-load")
        with pytest.raises(StoreError, match="has no sweep yet"):
            find_sweep(store, LAST_SWEEP)

    def test_where_a_run_is_needed_last_sweep_is_refused_with_the_way_to_its_runs(self, store: Store) -> None:
        self.sweep(store, 1, "night")
        for name in (LAST_SWEEP, "night", "s-1234"):
            with pytest.raises(
                StoreError, match=f"names a sweep: choose one run of `embedconsole runs --sweep {name}`"
            ):
                resolve_run(store, name)

    def test_a_sweep_that_measured_nothing_leaves_nothing(self, store: Store) -> None:
        self.sweep(store, 1, "night")
        self.sweep(store, 2, "day", runs=0)
        delete_empty_sweep(store, "s-1234")
        delete_empty_sweep(store, "s-2234")
        assert [one.name for one in list_sweeps(store)] == ["night"]

    def test_searches_and_live_comparisons_of_older_stores_are_recognised(self, tmp_path: Path) -> None:
        path = tmp_path / "runs.sqlite"
        old = sqlite3.connect(path)
        for script in schema.MIGRATIONS[:2]:
            old.executescript(script)
        old.execute("PRAGMA user_version = 2")
        for sweep_id, name, spec in (
            ("s-1", "max-load", '# {"load": {"batch": 1}}\n'),
            ("s-2", "live: a | b", "# embedconsole compare --live, 6 rounds, order seed 0\n"),
            ("s-3", "max-load", "# mine\n[grid]\n"),
            ("s-4", "quick", "# About a minute\n[grid]\n"),
        ):
            old.execute("INSERT INTO sweep VALUES (?, ?, '2026', NULL, 1, 1, ?)", (sweep_id, name, spec))
        old.commit()
        old.close()
        with Store.open(path) as store:
            kinds = {one.sweep_id: one.kind for one in list_sweeps(store)}
        assert kinds == {"s-1": "max-load", "s-2": "live", "s-3": "sweep", "s-4": "sweep"}


class TestPartsOfIds:
    @pytest.fixture
    def one(self, store: Store) -> Store:
        begin_sweep(store, "s-20261123-100000-beef", "night", f"{DAY}10:00:00Z", 1, 1, "")
        record(store, replace(GOOD, run_id="r-20261123-100000-3fad"), sweep_id="s-20261123-100000-beef")
        return store

    @pytest.mark.parametrize("name", ["d", "ad", "fad", "r", "r-2"])
    def test_less_than_four_characters_of_an_id_name_nothing(self, one: Store, name: str) -> None:
        for resolve in (resolve_run, resolve_selector):
            with pytest.raises(StoreError, match="write at least 4 characters of the id"):
                resolve(one, name)

    def test_four_characters_do(self, one: Store) -> None:
        assert resolve_run(one, "3fad") == resolve_run(one, "r-20") == "r-20261123-100000-3fad"
        assert find_sweep(one, "beef") == "s-20261123-100000-beef"

    def test_a_letter_of_a_sweep_names_nothing(self, one: Store) -> None:
        assert find_sweep(one, "f") == find_sweep(one, "s") == ""

    def test_a_whole_name_may_be_short(self, one: Store) -> None:
        record(one, replace(GOOD, run_id="r-1"))
        begin_sweep(one, "s-9", "x", f"{DAY}12:00:00Z", 1, 1, "")
        assert resolve_run(one, "r-1") == "r-1"
        assert find_sweep(one, "x") == "s-9"
