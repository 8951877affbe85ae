"""A store, and a run beside it, that commit 31acd2e wrote: read, compared and reported with the same meaning."""

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.analysis.validity import Lag
from console.cli.main import cli
from console.measure.driver_ceiling import Ceiling
from console.measure.environment import environment
from console.measure.result import as_json
from console.session.from_wire import fidelity
from console.session.live_metrics import EngineSample
from console.store.database import Store
from console.store.rows import interval_row
from console.store.write import add_intervals, begin_run, finish_run
from engine.api import embed_pb2
from tests.unit.console.support.intervals import second
from tests.unit.console.support.made import GOOD, start_of, store_in
from tests.unit.frozen.recorded import RECORDED, changed_fields, differences, recorded, without_wording

JSON_COLUMNS = (
    ("environment", "facts"), ("run", "spec"), ("report", "report"),
    ("interval", "facts"), ("interval", "engine_facts"),
)  # fmt: skip
MAPS = ("libraries", "errors", "deployments", "epochs", "stages_ms")
"""Objects in those columns whose keys are data."""

COMPUTED = (
    "sources", "runs_given", "first_run_at", "last_run_at", "slo_p95_ms", "cells", "baseline", "throughput",
    "capabilities", "environment",
)  # fmt: skip
"""Of a report: what the store alone decides. What is found and recommended in it may become better."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(RECORDED / "runs.sqlite", tmp_path))


def printed(path: Path, *arguments: str) -> Any:
    done = CliRunner().invoke(cli, [*arguments, "--store", str(path)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def schema_of(path: Path) -> dict[str, Any]:
    with sqlite3.connect(path) as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        indexes = store.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        found = {
            "version": store.execute("PRAGMA user_version").fetchone()[0],
            "tables": {
                table: {row[1]: list(row[2:]) for row in store.execute(f"PRAGMA table_info({table})")}
                for table in tables
            },
            "indexes": sorted(sql for (sql,) in indexes),
        }
    store.close()
    return found


def column(path: Path, table: str, name: str) -> list[Any]:
    with sqlite3.connect(path) as store:
        rows = store.execute(f"SELECT {name} FROM {table} WHERE {name} IS NOT NULL").fetchall()  # noqa: S608 - the names are ours
    store.close()
    return [json.loads(value) for (value,) in rows]


def count(store: sqlite3.Connection, table: str) -> int:
    found: int = store.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - the names are ours
    return found


def test_a_new_store_has_the_same_tables_columns_and_indexes(tmp_path: Path) -> None:
    store_in(tmp_path).close()
    before, now = recorded("schema.json"), schema_of(tmp_path / "runs.sqlite")
    tables = {table: {row[0]: row[1:] for row in rows} for table, rows in before["tables"].items()}
    assert not differences(tables, now["tables"])
    assert set(before["indexes"]) <= set(now["indexes"])
    assert now["version"] >= before["version"]


def test_an_old_store_is_opened_without_losing_a_table_or_a_row(path: Path) -> None:
    before, rows = schema_of(path), {}
    with sqlite3.connect(path) as store:
        for table in before["tables"]:
            rows[table] = count(store, table)
    printed(path, "runs", "--json")
    assert not differences(before["tables"], schema_of(path)["tables"])
    assert {table: count(store, table) for table in rows} == rows
    store.close()


def test_the_list_of_runs_is_what_it_was(path: Path) -> None:
    assert not differences(recorded("outputs/runs.json"), printed(path, "runs", "--limit", "0", "--json"))


def test_every_run_of_an_old_store_was_measured_by_a_command(path: Path) -> None:
    assert {run["origin"] for run in printed(path, "runs", "--limit", "0", "--json")} == {"measured"}


def test_the_list_of_sweeps_is_what_it_was(path: Path) -> None:
    assert not differences(recorded("outputs/sweeps.json"), printed(path, "runs", "sweeps", "--json"))


@pytest.mark.parametrize("run_id", recorded("outputs/shown.json"))
def test_a_run_is_shown_as_it_was(path: Path, run_id: str) -> None:
    before, now = recorded("outputs/shown.json")[run_id], printed(path, "runs", "show", run_id, "--json")
    now["intervals"] = now["intervals"][: len(before["intervals"])]  # the first ones are recorded
    for run in (before, now):
        run["recovered"] = without_wording(run["recovered"])  # computed when it is shown
    assert not differences(before, now)


def test_the_store_holds_every_kind_of_run() -> None:
    runs = recorded("outputs/runs.json")
    assert {row["verdict"] for row in runs} >= {"failed", "unfinished"}
    assert any(row["interrupted"] for row in runs)
    assert any(row["slo_missed"] for row in runs)
    assert any(row["rate"] for row in runs)
    assert any(row["sweep_id"] for row in runs)
    assert any((row["requested"]["precision"], row["effective"]["precision"]) == ("bf16", "fp32") for row in runs)
    assert {tag for row in runs for tag in row["tags"]} >= {"main", "open", "fallback"}


def test_a_run_is_found_by_its_tag_precision_verdict_and_sweep(path: Path) -> None:
    runs = recorded("outputs/runs.json")
    for flag, value, chosen in (
        ("--tag", "main", [row for row in runs if "main" in row["tags"]]),
        ("--precision", "int8", [row for row in runs if row["effective"]["precision"] == "int8"]),
        ("--verdict", "failed", [row for row in runs if row["verdict"] == "failed"]),
        ("--sweep", "int8-or-not", [row for row in runs if row["cell_hash"]][-4:]),
    ):
        found = printed(path, "runs", flag, value, "--limit", "0", "--json")
        assert [row["run_id"] for row in found] == [row["run_id"] for row in chosen]


def test_a_comparison_of_stored_runs_gives_the_same_ratios(path: Path) -> None:
    before, now = recorded("outputs/compare.json"), printed(path, "compare", "main", "fallback", "--json")
    assert not differences(without_wording(before), without_wording(now))


def test_a_report_on_a_stored_sweep_gives_the_same_figures(path: Path) -> None:
    before, now = recorded("outputs/report.json"), printed(path, "report", "int8-or-not", "--format", "json")
    assert not changed_fields(before, now, MAPS)
    for name in COMPUTED:
        assert not differences(without_wording(before[name]), without_wording(now[name]), name)


@pytest.mark.parametrize(("table", "name"), JSON_COLUMNS)
def test_what_is_written_now_has_the_fields_that_were_written_then(
    path: Path, tmp_path: Path, table: str, name: str
) -> None:
    sample = EngineSample(
        time_s=6.0, rss_bytes=1 << 28, queued_items=1, in_flight_requests=2, cpu_s=3.5, batches=4, batch_items=32,
        tokens=400, padded_tokens=420,
    )  # fmt: skip
    run = replace(GOOD, lag=Lag(2000, 0.1, 0.2, 0.3), ceiling=Ceiling(500.0, 90.0))
    with Store.open(tmp_path / "new.sqlite") as store:
        begin_run(store, replace(start_of(run), environment=environment(run.engine)))
        add_intervals(store, run.run_id, [interval_row(second(5), sample, 5.0, 0.0)], 0)
        report = as_json(run)
        report["fidelity"] |= fidelity(embed_pb2.FidelityEvent())  # as a sweep that measures it does
        finish_run(store, run.run_id, "2026-11-23T10:00:12Z", report, ())
    before, now = column(path, table, name), column(tmp_path / "new.sqlite", table, name)
    assert before
    assert not changed_fields(before, now, MAPS)


def test_a_run_that_was_laid_aside_is_brought_back_whole(path: Path) -> None:
    aside = recorded("spill.json")
    run_id = aside["start"]["run_id"]
    done = CliRunner().invoke(cli, ["runs", "restore", str(RECORDED / "spill.json"), "--store", str(path)])
    assert done.exit_code == 0, done.output
    shown = printed(path, "runs", "show", run_id, "--json")
    assert shown["report"] == aside["report"]
    assert shown["verdict"] == aside["report"]["verdict"]
    assert len(shown["intervals"]) >= len(aside["intervals"]) > 0
    assert [event["text"] for event in shown["events"]] == [event["text"] for event in aside["events"]]


def test_a_run_that_was_laid_aside_is_brought_into_a_store_that_never_saw_it(tmp_path: Path) -> None:
    aside = recorded("spill.json")
    store_in(tmp_path).close()
    path = tmp_path / "runs.sqlite"
    done = CliRunner().invoke(cli, ["runs", "restore", str(RECORDED / "spill.json"), "--store", str(path)])
    assert done.exit_code == 0, done.output
    (row,) = printed(path, "runs", "--json")
    assert row["run_id"] == aside["start"]["run_id"]
    assert row["requested"] == aside["report"]["requested"]
    assert row["effective"] == aside["report"]["effective"]
    assert row["started_at"] == aside["start"]["started_at"]
