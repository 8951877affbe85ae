"""What goes into the store: a run from its first second to its report, and what people add to it."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from console.model.engine import Batching, CapabilityCell, Deployment
from console.model.frame import LogLine
from console.store.database import Store, StoreError
from console.store.rows import Row, capability_rows, deployment_columns, environment_row

MOST_TAG_LETTERS = 40


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known of a run when its load begins. Times are ISO 8601 in UTC."""

    run_id: str
    started_at: str
    requested: Deployment
    effective: Deployment
    batching: Batching
    spec: Mapping[str, Any]
    """As `dataclasses.asdict` gives a RunSpec."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Sequence[CapabilityCell] = ()
    sweep_id: str | None = None
    cell_hash: str | None = None


def begin_run(store: Store, start: RunStart) -> None:
    """From now on the run is listed, without a verdict until it has ended. Raises StoreError."""
    load = start.spec["load"]
    with store.writing() as connection:
        if start.environment:
            _insert(connection, "environment", environment_row(start.environment, start.started_at), "OR IGNORE")
        run: Row = {
            "id": start.run_id,
            "started_at": start.started_at,
            "environment": start.environment.get("hash"),
            "capabilities": _matrix(connection, start.capabilities, start.started_at),
            **deployment_columns("requested", asdict(start.requested)),
            **deployment_columns("effective", asdict(start.effective)),
            "model": start.effective.model or start.requested.model,
            **asdict(start.batching),
            **{name: load.get(name) for name in ("batch", "concurrency", "rate", "workload", "corpus", "stream")},
            "seed": load.get("seed"),
            "warm_up_s": start.spec.get("warm_up_s"),
            "slo_p95_ms": start.spec.get("slo_p95_ms"),
            "spec": json.dumps(start.spec),
            "sweep_id": start.sweep_id,
            "cell_hash": start.cell_hash,
        }
        _insert(connection, "run", run)


def set_capabilities(store: Store, run_id: str, capabilities: Sequence[CapabilityCell], now: str) -> None:
    """For a run that began before the engine had told its matrix. Raises StoreError."""
    with store.writing() as connection:
        row = (_matrix(connection, capabilities, now), run_id)
        connection.execute("UPDATE run SET capabilities = ? WHERE id = ?", row)


def _matrix(connection: sqlite3.Connection, capabilities: Sequence[CapabilityCell], now: str) -> str | None:
    """The matrix's hash, its cells stored once; None where nothing is known."""
    if not capabilities:
        return None
    matrix, cells = capability_rows(capabilities)
    if connection.execute("SELECT 1 FROM capability_matrix WHERE hash = ?", (matrix,)).fetchone() is None:
        _insert(connection, "capability_matrix", {"hash": matrix, "first_seen": now})
        for cell in cells:
            _insert(connection, "capability", cell, "OR IGNORE")
    return matrix


def add_intervals(store: Store, run_id: str, rows: Sequence[Row], first_ordinal: int) -> None:
    """Rows of `interval_row`, numbered from `first_ordinal`. Raises StoreError; then none of them is in."""
    with store.writing() as connection:
        for ordinal, row in enumerate(rows, start=first_ordinal):
            _insert(connection, "interval", {"run_id": run_id, "ordinal": ordinal, **row})


def finish_run(store: Store, run_id: str, ended_at: str, report: Mapping[str, Any], events: Sequence[LogLine]) -> None:
    """The verdict, the figures and the whole JSON object of `run --json`. Raises StoreError."""
    columns: Row = {"ended_at": ended_at, **_figures(report)}
    columns |= deployment_columns("requested", report["requested"])
    columns |= deployment_columns("effective", report["effective"])
    columns["model"] = report["effective"].get("model") or report["requested"].get("model")
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    with store.writing() as connection:
        statement = f"UPDATE run SET {assignments} WHERE id = :id"  # noqa: S608 - the names are ours
        connection.execute(statement, {**columns, "id": run_id})
        _insert(connection, "report", {"run_id": run_id, "report": json.dumps(report, ensure_ascii=False)})
        for figure, judged in report.get("verdicts", {}).items():
            if isinstance(judged, Mapping) and (stable := judged.get("stable", judged.get("holds"))) is not None:
                row = {"stable": stable, "spread": judged.get("spread", judged.get("ratio"))}
                row |= {"run_id": run_id, "figure": figure, "reason": judged.get("reason")}
                _insert(connection, "judgement", row)
        if found := report.get("fidelity"):
            cosine = found.get("cosine") or {}
            row = {
                name: found.get(name) for name in ("cosine_mean", "overlap_at_1", "overlap_at_10", "spearman", "grade")
            }
            row |= {"cosine_p1": cosine.get("p1"), "cosine_min": cosine.get("min"), "texts": found.get("n")}
            _insert(connection, "fidelity", {"run_id": run_id, **row})
        for line in events:
            row = {name: getattr(line, name) for name in ("wall_time", "source", "level", "text")}
            _insert(connection, "event", {"run_id": run_id, **row})


def _figures(report: Mapping[str, Any]) -> Row:
    throughput, latency = report["throughput"], report["latency_ms"]
    verdicts, fidelity = report.get("verdicts", {}), report.get("fidelity") or {}
    return {
        **{name: report.get(name) for name in ("verdict", "failure", "interrupted", "duration_s")},
        "slo_missed": verdicts.get("slo_missed"),
        **{name: throughput.get(name) for name in ("texts_per_s", "pairs_per_s", "requests_per_s")},
        "texts_per_s_low": throughput.get("ci_low"),
        "texts_per_s_high": throughput.get("ci_high"),
        "latency_n": latency.get("n"),
        **{f"{name}_ms": latency.get(name) for name in ("mean", "p50", "p90", "p95", "p99", "max")},
        "rss_bytes": report["server"].get("rss_bytes"),
        "errors": sum(report["errors"].values()),
        "fidelity": fidelity.get("cosine_mean"),
    }


def check_tag(name: str) -> None:
    """Raises StoreError for a name that is no tag."""
    if not name or len(name) > MOST_TAG_LETTERS or not all(letter.isalnum() or letter in "-_.:/" for letter in name):
        raise StoreError(f"{name!r} is no tag: use letters, digits and - _ . : /, at most {MOST_TAG_LETTERS}")


def add_tags(store: Store, run_id: str, names: Sequence[str]) -> None:
    """Raises StoreError for a name that is no tag."""
    for name in names:
        check_tag(name)
    with store.writing() as connection:
        for name in names:
            _insert(connection, "tag", {"run_id": run_id, "name": name}, "OR IGNORE")


def pin_tag(store: Store, run_ids: Sequence[str], name: str) -> None:
    """From now on `name` stands for these runs and no others. Raises StoreError for a name that is no tag."""
    check_tag(name)
    with store.writing() as connection:
        connection.execute("DELETE FROM tag WHERE name = ?", (name,))
        for run_id in run_ids:
            _insert(connection, "tag", {"run_id": run_id, "name": name}, "OR IGNORE")


def remove_tags(store: Store, run_id: str, names: Sequence[str]) -> None:
    """A tag that is not there needs no removing."""
    with store.writing() as connection:
        connection.executemany("DELETE FROM tag WHERE run_id = ? AND name = ?", [(run_id, name) for name in names])


def add_note(store: Store, run_id: str, text: str, written_at: str) -> None:
    """Notes are added to, never replaced."""
    with store.writing() as connection:
        _insert(connection, "note", {"run_id": run_id, "text": text, "written_at": written_at})


def delete_runs(store: Store, run_ids: Sequence[str]) -> None:
    """With all that hangs on them: intervals, events, notes, tags."""
    with store.writing() as connection:
        connection.executemany("DELETE FROM run WHERE id = ?", [(run_id,) for run_id in run_ids])


def begin_sweep(store: Store, sweep_id: str, name: str, started_at: str, seed: int, cells: int, spec: str) -> None:
    """`spec` is the TOML text, so that the sweep can be run again from the file alone."""
    row: Row = {"id": sweep_id, "name": name, "started_at": started_at, "seed": seed, "cells": cells, "spec": spec}
    with store.writing() as connection:
        _insert(connection, "sweep", row)


def resume_sweep(store: Store, sweep_id: str, cells: int, spec: str) -> None:
    """It goes on, perhaps with an edited specification."""
    with store.writing() as connection:
        row = (cells, spec, sweep_id)
        connection.execute("UPDATE sweep SET ended_at = NULL, cells = ?, spec = ? WHERE id = ?", row)


def end_sweep(store: Store, sweep_id: str, ended_at: str) -> None:
    with store.writing() as connection:
        connection.execute("UPDATE sweep SET ended_at = ? WHERE id = ?", (ended_at, sweep_id))


def _insert(connection: sqlite3.Connection, table: str, row: Row, how: str = "") -> None:
    names = ", ".join(row)
    places = ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT {how} INTO {table} ({names}) VALUES ({places})", row)  # noqa: S608 - the names are ours
