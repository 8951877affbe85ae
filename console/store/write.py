"""Writes the store: runs with their intervals and reports, tags, notes and sweeps."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from console.model.engine import Batching, CapabilityCell, Deployment
from console.model.frame import LogLine
from console.model.recording import MEASURED
from console.store.database import Store, StoreError
from console.store.rows import Row, capability_rows, deployment_columns, environment_row
from console.store.schema import SWEEP

MAX_TAG_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known of a run when its load starts. Times are ISO 8601 in UTC."""

    run_id: str
    started_at: str
    requested: Deployment
    effective: Deployment
    batching: Batching
    spec: Mapping[str, Any]
    """A RunSpec as `dataclasses.asdict` returns it."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Sequence[CapabilityCell] = ()
    sweep_id: str | None = None
    cell_hash: str | None = None
    writer_host: str = ""
    writer_pid: int = 0
    heartbeat_at: str = ""
    origin: str = MEASURED


def begin_run(store: Store, start: RunStart) -> None:
    """Inserts a run; it is listed from now on and has no verdict until it ends. Raises StoreError."""
    load = start.spec["load"]
    with store.writing() as connection:
        if start.environment:
            insert_row(connection, "environment", environment_row(start.environment, start.started_at), "OR IGNORE")
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
            **{name: getattr(start, name) or None for name in ("writer_host", "writer_pid", "heartbeat_at")},
            "origin": start.origin,
        }
        insert_row(connection, "run", run)


def set_capabilities(store: Store, run_id: str, capabilities: Sequence[CapabilityCell], now: str) -> None:
    """Adds the capability matrix of a run that started before the engine had reported it. Raises StoreError."""
    with store.writing() as connection:
        row = (_matrix(connection, capabilities, now), run_id)
        connection.execute("UPDATE run SET capabilities = ? WHERE id = ?", row)


def _matrix(connection: sqlite3.Connection, capabilities: Sequence[CapabilityCell], now: str) -> str | None:
    """Stores the matrix unless it is stored already; returns its hash, or None if it is empty."""
    if not capabilities:
        return None
    matrix, cells = capability_rows(capabilities)
    if connection.execute("SELECT 1 FROM capability_matrix WHERE hash = ?", (matrix,)).fetchone() is None:
        insert_row(connection, "capability_matrix", {"hash": matrix, "first_seen": now})
        for cell in cells:
            insert_row(connection, "capability", cell, "OR IGNORE")
    return matrix


def add_intervals(
    store: Store, run_id: str, rows: Sequence[Row], first_ordinal: int, heartbeat_at: str | None = None
) -> None:
    """Inserts rows of `interval_row`, numbered from `first_ordinal`: all of them, or none and raises StoreError.

    `heartbeat_at`: the time, as a sign that the run is still measured.
    """
    with store.writing() as connection:
        for ordinal, row in enumerate(rows, start=first_ordinal):
            insert_row(connection, "interval", {"run_id": run_id, "ordinal": ordinal, **row})
        if heartbeat_at is not None:
            connection.execute("UPDATE run SET heartbeat_at = ? WHERE id = ?", (heartbeat_at, run_id))


def finish_run(
    store: Store, run_id: str, ended_at: str, report: Mapping[str, Any], events: Sequence[LogLine],
    batching: Batching | None = None,
) -> None:  # fmt: skip
    """Stores the verdict, the figures, the log lines and the object of `run --json`. Raises StoreError.

    `batching`: the knobs of the figures, if they may differ from those at the start.
    """
    columns: Row = {"ended_at": ended_at, **_figures(report), **(asdict(batching) if batching is not None else {})}
    columns |= deployment_columns("requested", report["requested"])
    columns |= deployment_columns("effective", report["effective"])
    columns["model"] = report["effective"].get("model") or report["requested"].get("model")
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    with store.writing() as connection:
        statement = f"UPDATE run SET {assignments} WHERE id = :id"  # noqa: S608 - the names are constants
        connection.execute(statement, {**columns, "id": run_id})
        insert_row(connection, "report", {"run_id": run_id, "report": json.dumps(report, ensure_ascii=False)})
        for figure, judged in report.get("verdicts", {}).items():
            if isinstance(judged, Mapping) and (stable := judged.get("stable", judged.get("holds"))) is not None:
                row = {"stable": stable, "spread": judged.get("spread", judged.get("ratio"))}
                row |= {"run_id": run_id, "figure": figure, "reason": judged.get("reason")}
                insert_row(connection, "judgement", row)
        if fidelity := report.get("fidelity"):
            cosine = fidelity.get("cosine") or {}
            row = {
                name: fidelity.get(name)
                for name in ("cosine_mean", "overlap_at_1", "overlap_at_10", "spearman", "grade")
            }
            row |= {"cosine_p1": cosine.get("p1"), "cosine_min": cosine.get("min"), "texts": fidelity.get("n")}
            insert_row(connection, "fidelity", {"run_id": run_id, **row})
        for line in events:
            row = {name: getattr(line, name) for name in ("wall_time", "source", "level", "text")}
            insert_row(connection, "event", {"run_id": run_id, **row})


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
    """Raises StoreError if the name is not a valid tag."""
    allowed = all(character.isalnum() or character in "-_.:/" for character in name)
    if not name or len(name) > MAX_TAG_CHARACTERS or not allowed:
        raise StoreError(
            f"{name!r} is not a tag: use letters, digits and - _ . : /, at most {MAX_TAG_CHARACTERS} characters"
        )


def add_tags(store: Store, run_id: str, names: Sequence[str]) -> None:
    """Adds tags to a run. Raises StoreError if a name is not a valid tag."""
    for name in names:
        check_tag(name)
    with store.writing() as connection:
        for name in names:
            insert_row(connection, "tag", {"run_id": run_id, "name": name}, "OR IGNORE")


def pin_tag(store: Store, run_ids: Sequence[str], name: str) -> None:
    """Moves the tag to these runs and removes it from all others. Raises StoreError if it is not a valid tag."""
    check_tag(name)
    with store.writing() as connection:
        connection.execute("DELETE FROM tag WHERE name = ?", (name,))
        for run_id in run_ids:
            insert_row(connection, "tag", {"run_id": run_id, "name": name}, "OR IGNORE")


def remove_tags(store: Store, run_id: str, names: Sequence[str]) -> None:
    """Removes tags from a run; tags that it does not have are ignored."""
    with store.writing() as connection:
        connection.executemany("DELETE FROM tag WHERE run_id = ? AND name = ?", [(run_id, name) for name in names])


def add_note(store: Store, run_id: str, text: str, written_at: str) -> None:
    """Adds a note to a run; existing notes are kept."""
    with store.writing() as connection:
        insert_row(connection, "note", {"run_id": run_id, "text": text, "written_at": written_at})


def delete_runs(store: Store, run_ids: Sequence[str]) -> None:
    """Deletes runs with their intervals, events, notes and tags."""
    with store.writing() as connection:
        connection.executemany("DELETE FROM run WHERE id = ?", [(run_id,) for run_id in run_ids])


def begin_sweep(
    store: Store, sweep_id: str, name: str, started_at: str, seed: int, points: int, spec: str, kind: str = SWEEP
) -> None:
    """Inserts a sweep. `spec` is its TOML text, so that the sweep can be repeated from the store alone.

    `kind` is SWEEP, or what else groups its runs in the same way: MAX_LOAD or LIVE_COMPARISON.
    """
    row: Row = {
        "id": sweep_id, "name": name, "started_at": started_at, "seed": seed, "cells": points, "spec": spec,
        "kind": kind,
    }  # fmt: skip
    with store.writing() as connection:
        insert_row(connection, "sweep", row)


def resume_sweep(store: Store, sweep_id: str, points: int, spec: str) -> None:
    """Reopens a sweep that has ended, with its current specification."""
    with store.writing() as connection:
        row = (points, spec, sweep_id)
        connection.execute("UPDATE sweep SET ended_at = NULL, cells = ?, spec = ? WHERE id = ?", row)


def delete_empty_sweep(store: Store, sweep_id: str) -> None:
    """Deletes the sweep if it has no run."""
    with store.writing() as connection:
        none = "NOT EXISTS (SELECT 1 FROM run WHERE run.sweep_id = sweep.id)"
        connection.execute(f"DELETE FROM sweep WHERE id = ? AND {none}", (sweep_id,))  # noqa: S608 - a constant


def end_sweep(store: Store, sweep_id: str, ended_at: str) -> None:
    """Stores the end of a sweep. Raises StoreError."""
    with store.writing() as connection:
        connection.execute("UPDATE sweep SET ended_at = ? WHERE id = ?", (ended_at, sweep_id))


def insert_row(connection: sqlite3.Connection, table: str, row: Row, how: str = "") -> None:
    """Inserts a row into a table of the schema. `how`: such as `OR IGNORE`."""
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    statement = f"INSERT {how} INTO {table} ({names}) VALUES ({values})"  # noqa: S608 - the names are constants
    connection.execute(statement, row)
