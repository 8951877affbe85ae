"""The store keeps what was measured, whatever happens to the program, the disk or the schema."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from console.analysis.steady_state import percentiles
from console.measure.result import as_json
from console.store import schema
from console.store.database import Store, StoreError, store_path
from console.store.read import LAST, RunFilter, list_runs, load_run, resolve_run
from console.store.rows import interval_row
from console.store.write import add_intervals, add_note, add_tags, begin_run, delete_runs, finish_run, remove_tags
from tests.unit.console.support.intervals import second
from tests.unit.console.support.made import CELLS, GOOD, INT8, record, start_of, store_in


def test_a_run_is_read_back_whole_from_the_file_alone(tmp_path: Path) -> None:
    good = replace(GOOD, errors={"UNAVAILABLE": 2}, latency=replace(GOOD.latency, n=4000))
    with store_in(tmp_path) as store:
        record(store, good)
    with store_in(tmp_path) as store:
        found = load_run(store, "r-1")
    assert found.report == json.loads(json.dumps(as_json(good)))
    assert found.row.effective == INT8
    assert found.row.texts_per_s == 1280.0
    assert (found.row.throughput_stable, found.row.p95_stable) == (True, False)
    assert found.row.fidelity == pytest.approx(0.9931)
    assert found.row.errors == 2
    assert found.spec["load"]["batch"] == 32
    assert found.environment["cpu_model"] == "Fake CPU"
    assert {(cell.precision, cell.state, cell.fidelity) for cell in found.capabilities} == {
        (cell.precision, cell.state, cell.fidelity) for cell in CELLS
    }


def test_intervals_come_back_with_their_histograms_on_the_load_s_own_time(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store)
        found = load_run(store, "r-1").intervals
        with store.reading() as connection:
            steady = [row["steady"] for row in connection.execute("SELECT steady FROM interval ORDER BY ordinal")]
    assert [interval.start_s for interval in found] == [0.0, 1.0, 2.0]
    assert found[2].last_completion_s == 3.0
    assert percentiles([interval.answers for interval in found], certified=True).p50_ms == pytest.approx(10, rel=0.01)
    assert found[0].epochs["1"].requests == 100
    assert steady == [0, 1, 1]


def test_an_interrupted_run_keeps_its_intervals_and_is_listed_as_unfinished(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        begin_run(store, start_of(GOOD))
        add_intervals(store, "r-1", [interval_row(second(0), None, 0.0, 1.0)], 0)
        assert list_runs(store)[0].verdict == "unfinished"
        found = load_run(store, "r-1")
        assert len(found.intervals) == 1
        assert found.report is None


class TestFinding:
    def test_filters_let_through_what_they_name(self, tmp_path: Path) -> None:
        with store_in(tmp_path) as store:
            record(store)
            fp32 = replace(GOOD.engine, effective=replace(INT8, precision="fp32", recipe="plain"))
            record(store, replace(GOOD, run_id="r-2", engine=fp32, failure="lost"), started_at="2026-11-24T10:00:00Z")
            add_tags(store, "r-2", ["main", "v2"])

            def ids(**wanted: object) -> list[str]:
                return [row.run_id for row in list_runs(store, RunFilter(**wanted))]  # type: ignore[arg-type]

            assert ids() == ["r-2", "r-1"]
            assert ids(precision="int8") == ["r-1"]
            assert ids(backend="torch") == []
            assert ids(tag="main") == ["r-2"]
            assert ids(verdict="failed") == ["r-2"]
            assert ids(since="2026-11-24") == ["r-2"]
            assert ids(limit=1) == ["r-2"]
            assert list_runs(store)[0].tags == ("main", "v2")

    def test_a_run_is_named_by_its_id_a_part_of_it_or_last(self, tmp_path: Path) -> None:
        with store_in(tmp_path) as store:
            with pytest.raises(StoreError, match="no ended run yet"):
                resolve_run(store, LAST)
            record(store, replace(GOOD, run_id="r-20261123-a1"))
            record(store, replace(GOOD, run_id="r-20261123-b2"), started_at="2026-11-23T11:00:00Z")
            assert resolve_run(store, "3-b2") == resolve_run(store, LAST) == "r-20261123-b2"
            with pytest.raises(StoreError, match="several runs"):
                resolve_run(store, "r-2026")
            for unknown in ("r-7", "", "%"):
                with pytest.raises(StoreError, match="`embedconsole runs` lists them"):
                    resolve_run(store, unknown)

    def test_ten_thousand_runs_are_listed_at_once(self, tmp_path: Path) -> None:
        with store_in(tmp_path) as store:
            record(store)
            _copy_first_run(store, 1, 999)
            thousand = _cost_of_listing(store, 1_000)
            _copy_first_run(store, 1_000, 9_999)
            ten_thousand = _cost_of_listing(store, 10_000)
            assert ten_thousand.statements == 1
            assert ten_thousand.steps < 15 * thousand.steps, "no run costs more because there are others"
            assert ten_thousand.steps < 250 * 10_000


def _copy_first_run(store: Store, first: int, last: int) -> None:
    numbers = f"WITH RECURSIVE number(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM number WHERE n < {last})"  # noqa: S608 - numbers
    with store.writing() as connection:
        columns = [row["name"] for row in connection.execute("PRAGMA table_info(run)")]
        copied = ", ".join("'s-' || n" if name == "id" else name for name in columns)
        connection.execute(f"{numbers} INSERT INTO run SELECT {copied} FROM run, number WHERE id = 'r-1'")  # noqa: S608
        for table, key in (("judgement", "figure, stable, spread, reason"), ("report", "report")):
            rest = f"SELECT 's-' || n, {key} FROM {table}, number WHERE run_id = 'r-1'"  # noqa: S608
            connection.execute(f"{numbers} INSERT INTO {table} {rest}")


class _Cost(NamedTuple):
    """What SQLite does, whatever the processor: statements, and steps of its virtual machine."""

    statements: int
    steps: int


def _cost_of_listing(store: Store, count: int) -> _Cost:
    statements, hundreds = list[str](), list[int | None]()
    with store.reading() as connection:
        connection.set_trace_callback(statements.append)
        connection.set_progress_handler(lambda: hundreds.append(None), 100)
        assert len(list_runs(store)) == count
        connection.set_trace_callback(None)
        connection.set_progress_handler(None, 0)
    return _Cost(len(statements), 100 * len(hundreds))


class TestPeopleAddToRuns:
    def test_tags_and_notes_stay_and_tags_can_be_taken_away(self, tmp_path: Path) -> None:
        with store_in(tmp_path) as store:
            record(store)
            add_tags(store, "r-1", ["main", "main", "before-fix"])
            remove_tags(store, "r-1", ["main", "never-there"])
            add_note(store, "r-1", "the fan was loud", "2026-11-23T12:00:00Z")
            found = load_run(store, "r-1")
            assert found.row.tags == ("before-fix",)
            assert found.notes == (("2026-11-23T12:00:00Z", "the fan was loud"),)
            with pytest.raises(StoreError, match="is not a tag"):
                add_tags(store, "r-1", ["two words"])

    def test_deleting_a_run_takes_all_that_hangs_on_it(self, tmp_path: Path) -> None:
        with store_in(tmp_path) as store:
            record(store)
            add_tags(store, "r-1", ["main"])
            add_note(store, "r-1", "gone soon", "2026-11-23T12:00:00Z")
            delete_runs(store, ["r-1"])
            with store.reading() as connection:
                for table in ("run", "interval", "judgement", "report", "fidelity", "tag", "note", "event"):
                    assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0  # noqa: S608


class TestSchema:
    def test_a_file_of_the_first_schema_is_brought_up_to_date_with_its_runs(self, tmp_path: Path) -> None:
        path = tmp_path / "runs.sqlite"
        old = sqlite3.connect(path)
        old.executescript(schema.MIGRATIONS[0])
        old.execute("PRAGMA user_version = 1")
        old.execute("INSERT INTO run (id, started_at, batch, spec, verdict) VALUES ('r-0', '2026', 1, '{}', 'ok')")
        old.commit()
        old.close()
        with Store.open(path) as store:
            assert [row.run_id for row in list_runs(store)] == ["r-0"]
            record(store)
            with store.reading() as connection:
                assert schema.schema_version(connection) == schema.LATEST

    def test_a_newer_file_is_refused_with_the_next_step_and_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "runs.sqlite"
        newer = sqlite3.connect(path)
        newer.execute("PRAGMA user_version = 99")
        newer.close()
        before = path.read_bytes()
        with pytest.raises(StoreError, match=r"newer embedconsole \(schema 99.*pip install --upgrade"):
            Store.open(path)
        assert path.read_bytes() == before

    def test_it_is_plain_tables_whose_every_reference_holds(self, tmp_path: Path) -> None:
        with store_in(tmp_path) as store:
            record(store)
            with store.reading() as connection:
                assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
                assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
                kinds = {row["type"] for row in connection.execute("SELECT type FROM sqlite_master")}
        assert kinds == {"table", "index"}


class TestTrouble:
    def test_a_locked_store_says_so_and_loses_nothing(self, tmp_path: Path) -> None:
        with store_in(tmp_path) as store, Store.open(store.path, busy_timeout_s=0.01) as second_writer:
            with store.writing(), pytest.raises(StoreError, match="locked by another program: close it"):
                begin_run(second_writer, start_of(GOOD))
            record(second_writer)
            assert len(list_runs(store)) == 1

    def test_a_full_disk_says_so_and_keeps_what_was_in(self, tmp_path: Path) -> None:
        with store_in(tmp_path) as store:
            record(store)
            with store.reading() as connection:
                pages = connection.execute("PRAGMA page_count").fetchone()[0]
                connection.execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(StoreError, match="is full: free some space"):
                record(store, replace(GOOD, run_id="r-2"), seconds=1000)
            assert load_run(store, "r-1").report is not None

    def test_what_is_no_store_is_refused_and_left_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("shopping list, long enough to be looked at\n" * 100)
        with pytest.raises(StoreError, match="damaged or is not a store"):
            Store.open(path)
        assert path.read_text().startswith("shopping list")
        with pytest.raises(StoreError, match="cannot be read and written"):
            Store.open(tmp_path)
        with pytest.raises(StoreError, match=r"folder .* cannot be created"):
            Store.open(path / "below" / "runs.sqlite")

    def test_a_run_is_recorded_twice_neither_by_mistake_nor_in_part(self, tmp_path: Path) -> None:
        with store_in(tmp_path) as store:
            record(store)
            with pytest.raises(StoreError):
                finish_run(store, "r-1", "2027", as_json(GOOD), ())
            with store.reading() as connection:
                assert connection.execute("SELECT ended_at FROM run").fetchone()[0].startswith("2026")


WRITER = """
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple
from tests.unit.console.support.made import GOOD, record, store_in

store = store_in(Path(sys.argv[1]))
for number in count():
    record(store, replace(GOOD, run_id=f"{sys.argv[2]}-{number}"))
    print(number, flush=True)
"""


def test_kill_9_in_the_middle_of_writing_corrupts_nothing(tmp_path: Path) -> None:
    promised = 0
    for life in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), f"r-{life}"], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            for _ in range(4 + life):
                child.stdout.readline()
                promised += 1
            os.kill(child.pid, signal.SIGKILL)
    with store_in(tmp_path) as store:
        with store.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = list_runs(store)
        assert sum(row.verdict != "unfinished" for row in rows) >= promised
        assert sum(row.verdict == "unfinished" for row in rows) <= 5


OPENER = """
import sys
from pathlib import Path
from typing import NamedTuple
from console.store.database import Store
sys.stdin.readline()
Store.open(Path(sys.argv[1])).close()
"""


def test_programs_that_make_the_same_new_store_at_once_all_get_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENER, str(tmp_path / "runs.sqlite")]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        child.stdin.flush()
    assert [child.communicate()[1] for child in children] == [b""] * 4


def test_the_store_lies_where_it_was_asked_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMBEDCONSOLE_STORE", str(tmp_path / "by-variable"))
    assert store_path("~/x.sqlite") == Path.home() / "x.sqlite"
    assert store_path() == tmp_path / "by-variable"
    monkeypatch.delenv("EMBEDCONSOLE_STORE")
    assert store_path().parts[-2:] == ("embedconsole", "runs.sqlite")
