"""Reads the store: lists of runs, complete runs with their intervals, and the points that a sweep has measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from console.load.protocol import Interval
from console.model.engine import CapabilityCell, CellState, Deployment
from console.model.recording import LIVE
from console.model.verdicts import NOT_ENDED, RUNNING
from console.model.verdicts import UNFINISHED as UNFINISHED
from console.session.live_metrics import EngineSample
from console.store.database import Store, StoreError
from console.store.live import LiveRecord, read_live
from console.store.liveness import Liveness, is_running
from console.store.rows import interval_of, sample_of
from console.store.schema import SWEEP

LAST = "last"
LAST_SWEEP = "last-sweep"
LEAST_CHARACTERS = 4
"""A shorter part of an id names nothing, so that a single letter cannot select, or delete, a run."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """A filter of runs; an empty field matches every run. `since` is ISO 8601 in UTC."""

    backend: str = ""
    precision: str = ""
    tag: str = ""
    verdict: str = ""
    since: str = ""
    sweep: str = ""
    run_id: str = ""
    limit: int = 0


class RunRow(NamedTuple):
    """A run in a list. Its fields are the columns of `_LISTED`; a named tuple, because thousands are created at once.

    Figures are None if they cannot be stated, `*_stable` if there is no judgement; booleans are 0 and 1 as in SQLite.
    """

    run_id: str
    started_at: str
    verdict: str
    interrupted: int
    requested_backend: str
    requested_precision: str
    requested_recipe: str
    requested_device: str
    requested_instances: int
    requested_threads: int
    effective_backend: str
    effective_precision: str
    effective_recipe: str
    effective_device: str
    effective_instances: int
    effective_threads: int
    model: str
    coalesce: int
    max_batch_tokens: int
    max_wait_ms: float
    batch: int
    concurrency: int
    rate: float | None
    workload: str
    corpus: str
    stream: int
    duration_s: float | None
    texts_per_s: float | None
    texts_per_s_low: float | None
    texts_per_s_high: float | None
    throughput_stable: int | None
    latency_n: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p95_stable: int | None
    rss_bytes: int | None
    fidelity: float | None
    errors: int
    slo_missed: int
    failure: str
    sweep_id: str
    cell_hash: str
    tag_names: str
    writer_host: str
    writer_pid: int
    heartbeat_at: str
    origin: str

    @property
    def requested(self) -> Deployment:
        return _deployment(self[4:10], self.model)

    @property
    def effective(self) -> Deployment:
        return _deployment(self[10:16], self.model)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, sorted by name."""
        return tuple(sorted(self.tag_names.split()))


def _deployment(columns: Sequence[Any], model: str) -> Deployment:
    backend, precision, recipe, device, instances, threads = columns
    return Deployment(backend, precision, recipe, device, model, instances, threads)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A complete run, from the store alone."""

    row: RunRow
    spec: Mapping[str, Any]
    report: Mapping[str, Any] | None
    """The object of `run --json`; None if the run did not end."""
    environment: Mapping[str, Any]
    notes: tuple[tuple[str, str], ...]
    """(written at, text), oldest first."""
    events: tuple[tuple[str, str, str, str], ...]
    """(HH:MM:SS, source, level, text)"""
    intervals: tuple[Interval, ...]
    """Including the warm-up; times start with the load."""
    samples: tuple[EngineSample, ...]
    capabilities: tuple[CapabilityCell, ...]
    live: LiveRecord | None = None
    """None unless the run was recorded from Live."""


_COLUMN_OF = {
    "run_id": "run.id",
    "verdict": "coalesce(run.verdict, 'unfinished')",
    "throughput_stable": "throughput.stable",
    "p95_stable": "p95.stable",
    "tag_names": "coalesce((SELECT group_concat(name, ' ') FROM tag WHERE tag.run_id = run.id), '')",
}
"""SQL of the fields that are not columns of `run` with the same name."""
_EMPTY_FOR = {"str": "''", "int": "0"}


def _column(name: str, kind: str) -> str:
    if name in _COLUMN_OF:
        return _COLUMN_OF[name]
    return f"coalesce(run.{name}, {_EMPTY_FOR[kind]})" if kind in _EMPTY_FOR else f"run.{name}"


_COLUMNS = ", ".join(_column(name, getattr(kind, "__name__", "")) for name, kind in RunRow.__annotations__.items())
_LISTED = f"""
SELECT {_COLUMNS}
FROM run
LEFT JOIN judgement AS throughput ON throughput.run_id = run.id AND throughput.figure = 'throughput'
LEFT JOIN judgement AS p95 ON p95.run_id = run.id AND p95.figure = 'p95'
WHERE (:backend = '' OR run.effective_backend = :backend)
  AND (:precision = '' OR run.effective_precision = :precision)
  AND (:verdict = '' OR coalesce(run.verdict, 'unfinished') = :verdict)
  AND (:since = '' OR run.started_at >= :since)
  AND (:run_id = '' OR run.id = :run_id)
  AND (:sweep = '' OR run.sweep_id = :sweep)
  AND (:tag = '' OR EXISTS (SELECT 1 FROM tag WHERE tag.run_id = run.id AND tag.name = :tag))
ORDER BY run.started_at DESC, run.rowid DESC
LIMIT CASE WHEN :limit > 0 THEN :limit ELSE -1 END
"""  # noqa: S608 - the names are constants of this module


SEEN_FROM_HERE = Liveness()


def list_runs(store: Store, matching: RunFilter | None = None, liveness: Liveness = SEEN_FROM_HERE) -> list[RunRow]:
    """Returns the matching runs, newest first. The verdict of a run that is being measured is RUNNING.

    Raises StoreError.
    """
    matching = matching or RunFilter()
    conditions, is_open = asdict(matching), matching.verdict in NOT_ENDED
    if is_open:  # the database knows only that there is no end
        conditions |= {"verdict": UNFINISHED, "limit": 0}
    with store.reading() as connection:
        cursor = connection.execute(_LISTED, conditions)
        cursor.row_factory = None  # plain tuples, which become RunRow
        rows = [_with_liveness(RunRow._make(row), liveness) for row in cursor]
    if is_open:
        rows = [row for row in rows if row.verdict == matching.verdict][: matching.limit or None]
    return rows


def _with_liveness(row: RunRow, liveness: Liveness) -> RunRow:
    if row.verdict != UNFINISHED or not is_running(row.writer_host, row.writer_pid, row.heartbeat_at, liveness):
        return row
    return row._replace(verdict=RUNNING)


def resolve_run(store: Store, name: str) -> str:
    """Returns the id of a run by its id, `last`, or the start or end of exactly one id. Raises StoreError.

    `last` is the run that started last of those that have ended, whether it was measured or recorded from Live; never
    one that failed before its load started. A part of an id has at least LEAST_CHARACTERS.
    """
    if name == LAST:
        return _last_run(store)
    with store.reading() as connection:
        rows = connection.execute("SELECT id FROM run WHERE id = ?", (name,)).fetchall()
        if not rows and len(name) >= LEAST_CHARACTERS:
            rows = connection.execute(
                "SELECT id FROM run WHERE substr(id, 1, length(:name)) = :name OR substr(id, -length(:name)) = :name",
                {"name": name},
            ).fetchmany(5)
        sweep = connection.execute("SELECT 1 FROM sweep WHERE :name IN (id, name, :last)", _sweep_named(name))
        is_sweep = sweep.fetchone() is not None
    if not rows and is_sweep:
        runs = f"`embedconsole runs --sweep {name}`"
        raise StoreError(f"{name!r} names a sweep: choose one run of {runs}")
    if not rows and len(name) < LEAST_CHARACTERS:
        raise StoreError(
            f"no run {name!r} in {store.path}: `embedconsole runs` lists them; write at least {LEAST_CHARACTERS}"
            " characters of the id"
        )
    if not rows:
        raise StoreError(f"no run {name!r} in {store.path}: `embedconsole runs` lists them")
    if len(rows) > 1:
        few = ", ".join(row["id"] for row in rows[:4])
        raise StoreError(f"{name!r} matches several runs ({few}, …): write more of the id")
    return str(rows[0]["id"])


def _sweep_named(name: str) -> dict[str, str]:
    return {"name": name, "last": LAST_SWEEP}


def _last_run(store: Store) -> str:
    """Returns the id of the newest run that was measured and has ended. Raises StoreError."""
    started = "(verdict <> 'failed' OR EXISTS (SELECT 1 FROM interval WHERE run_id = run.id))"
    newest = f"SELECT id FROM run WHERE verdict IS NOT NULL AND {started} ORDER BY started_at DESC, rowid DESC LIMIT 1"  # noqa: S608 - constants
    with store.reading() as connection:
        row = connection.execute(newest).fetchone()
    if row is None:
        raise StoreError(f"the store {store.path} has no ended run yet: record one with `embedconsole run`")
    return str(row["id"])


def load_run(store: Store, run_id: str) -> StoredRun:
    """Returns a complete run. Raises StoreError if there is no such run."""
    rows = list_runs(store, RunFilter(run_id=run_id))
    if not rows:
        raise StoreError(f"no run {run_id!r} in {store.path}: `embedconsole runs` lists them")
    with store.reading() as connection:
        run = connection.execute("SELECT spec, environment, capabilities FROM run WHERE id = ?", (run_id,)).fetchone()
        report = connection.execute("SELECT report FROM report WHERE run_id = ?", (run_id,)).fetchone()
        facts = connection.execute("SELECT facts FROM environment WHERE hash = ?", (run["environment"],)).fetchone()
        notes = connection.execute("SELECT written_at, text FROM note WHERE run_id = ? ORDER BY id", (run_id,))
        events = connection.execute(
            "SELECT wall_time, source, level, text FROM event WHERE run_id = ? ORDER BY id", (run_id,)
        )
        intervals = connection.execute("SELECT * FROM interval WHERE run_id = ? ORDER BY ordinal", (run_id,)).fetchall()
        cells = connection.execute("SELECT * FROM capability WHERE matrix = ?", (run["capabilities"],)).fetchall()
        samples = tuple(sample for row in intervals if (sample := sample_of(row)) is not None)
        live = None
        if rows[0].origin == LIVE:
            live, samples = read_live(connection, run_id, intervals)
        return StoredRun(
            row=rows[0],
            spec=json.loads(run["spec"]),
            report=json.loads(report["report"]) if report else None,
            environment=json.loads(facts["facts"]) if facts else {},
            notes=tuple((row["written_at"], row["text"]) for row in notes),
            events=tuple((row["wall_time"], row["source"], row["level"], row["text"]) for row in events),
            intervals=tuple(interval_of(row) for row in intervals),
            samples=samples,
            capabilities=tuple(_capability(row) for row in cells),
            live=live,
        )


def _capability(row: Mapping[str, Any]) -> CapabilityCell:
    effective = Deployment(
        row["effective_backend"] or "", row["effective_precision"] or "", device=row["effective_device"] or ""
    )
    plain = {name: row[name] for name in ("backend", "precision", "recipe", "device", "reason", "fix", "fidelity")}
    return CapabilityCell(state=CellState(row["state"]), effective=effective, **plain)


class SweepRow(NamedTuple):
    """A sweep in a list. `cells` is its number of points; 0 if that was not known when it started.

    `kind` is SWEEP, MAX_LOAD or LIVE_COMPARISON.
    """

    sweep_id: str
    name: str
    started_at: str
    ended_at: str | None
    cells: int
    runs: int
    kind: str


def list_sweeps(store: Store) -> list[SweepRow]:
    """Returns all sweeps, newest first. Raises StoreError."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT id, name, started_at, ended_at, coalesce(cells, 0),"
            " (SELECT count(*) FROM run WHERE run.sweep_id = sweep.id), kind FROM sweep"
            " ORDER BY started_at DESC, rowid DESC"
        ).fetchall()
    return [SweepRow(*row) for row in rows]


def newest_sweep(store: Store, name: str) -> str:
    """Returns the id of the newest sweep of this name; empty if there is none. Only sweeps of kind SWEEP count."""
    with store.reading() as connection:
        row = connection.execute(
            "SELECT id FROM sweep WHERE name = ? AND kind = ? ORDER BY started_at DESC, rowid DESC LIMIT 1",
            (name, SWEEP),
        ).fetchone()
    return str(row["id"]) if row else ""


def load_sweep_text(store: Store, sweep_id: str) -> tuple[str, str]:
    """Returns the name of a sweep and the text of its specification. Raises StoreError if there is no such sweep."""
    with store.reading() as connection:
        row = connection.execute("SELECT name, spec FROM sweep WHERE id = ?", (sweep_id,)).fetchone()
    if row is None:
        raise StoreError(f"no sweep {sweep_id!r} in {store.path}: `embedconsole runs sweeps` lists them")
    return str(row["name"]), str(row["spec"])


def points_done(store: Store, sweep_id: str) -> dict[str, str]:
    """Returns the run ids, by hash, of the points that are measured: ended, not interrupted and not failed."""
    with store.reading() as connection:
        rows: Sequence[Mapping[str, Any]] = connection.execute(
            "SELECT cell_hash, id FROM run WHERE sweep_id = ? AND cell_hash IS NOT NULL"
            " AND verdict IS NOT NULL AND verdict <> 'failed' AND interrupted = 0 ORDER BY started_at",
            (sweep_id,),
        ).fetchall()
    return {row["cell_hash"]: row["id"] for row in rows}
