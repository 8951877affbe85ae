"""The store's tables, as an ordered list of migrations. SQLite's `user_version` is the number of applied migrations.

A released migration is never edited; a change is a new migration. Times are ISO 8601 in UTC, booleans are 0 and 1, and
columns named in the plural, `facts` and `report` hold JSON. Only runs recorded from Live (origin `live`) have segments,
versions of switch deltas (`at_s`: when the screen showed one), markers, and the ticks and samples of intervals.
"""

import sqlite3

SWEEP, MAX_LOAD, LIVE_COMPARISON = "sweep", "max-load", "live"
"""Kinds of sweeps: measured cells, the trials of a search, the rounds of a live comparison."""

_RUNS = """
CREATE TABLE environment (
    hash TEXT PRIMARY KEY,
    first_seen TEXT NOT NULL,
    host_name TEXT, platform TEXT, machine TEXT, cpu_model TEXT, cpu_flags TEXT, cores INTEGER, governor TEXT,
    memory_bytes INTEGER, gpu_model TEXT, gpu_driver TEXT, python TEXT, libraries TEXT,
    git_revision TEXT, git_dirty INTEGER, model TEXT, weights_sha256 TEXT,
    facts TEXT NOT NULL
);
CREATE TABLE capability_matrix (hash TEXT PRIMARY KEY, first_seen TEXT NOT NULL);
CREATE TABLE capability (
    matrix TEXT NOT NULL REFERENCES capability_matrix(hash) ON DELETE CASCADE,
    backend TEXT NOT NULL, precision TEXT NOT NULL, recipe TEXT NOT NULL, device TEXT NOT NULL, state TEXT NOT NULL,
    effective_backend TEXT, effective_precision TEXT, effective_device TEXT, reason TEXT, fix TEXT, fidelity REAL,
    PRIMARY KEY (matrix, backend, precision, recipe, device)
) WITHOUT ROWID;
CREATE TABLE run (
    id TEXT PRIMARY KEY,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    environment TEXT REFERENCES environment(hash),
    capabilities TEXT REFERENCES capability_matrix(hash),
    requested_backend TEXT, requested_precision TEXT, requested_recipe TEXT, requested_device TEXT,
    requested_instances INTEGER, requested_threads INTEGER,
    effective_backend TEXT, effective_precision TEXT, effective_recipe TEXT, effective_device TEXT,
    effective_instances INTEGER, effective_threads INTEGER,
    model TEXT,
    coalesce INTEGER, max_batch_tokens INTEGER, max_batch_items INTEGER, max_wait_ms REAL,
    batch INTEGER, concurrency INTEGER, rate REAL, workload TEXT, corpus TEXT, stream INTEGER, seed INTEGER,
    warm_up_s REAL, slo_p95_ms REAL, spec TEXT NOT NULL,
    verdict TEXT, failure TEXT, interrupted INTEGER, slo_missed INTEGER, duration_s REAL,
    texts_per_s REAL, texts_per_s_low REAL, texts_per_s_high REAL, pairs_per_s REAL, requests_per_s REAL,
    latency_n INTEGER, mean_ms REAL, p50_ms REAL, p90_ms REAL, p95_ms REAL, p99_ms REAL, max_ms REAL,
    rss_bytes INTEGER, errors INTEGER, fidelity REAL
);
CREATE INDEX run_by_time ON run(started_at);
CREATE TABLE judgement (
    run_id TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    figure TEXT NOT NULL, stable INTEGER NOT NULL, spread REAL, reason TEXT,
    PRIMARY KEY (run_id, figure)
) WITHOUT ROWID;
CREATE TABLE report (run_id TEXT PRIMARY KEY REFERENCES run(id) ON DELETE CASCADE, report TEXT NOT NULL);
CREATE TABLE interval (
    run_id TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    start_s REAL NOT NULL, duration_s REAL NOT NULL, steady INTEGER NOT NULL,
    requests INTEGER NOT NULL, texts INTEGER NOT NULL, errors INTEGER NOT NULL, retries INTEGER NOT NULL,
    cpu_cores REAL, queue_ms REAL, tokenize_ms REAL, infer_ms REAL, serialize_ms REAL,
    latency_hdr TEXT,
    facts TEXT NOT NULL,
    engine_facts TEXT,
    PRIMARY KEY (run_id, ordinal)
) WITHOUT ROWID;
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    wall_time TEXT NOT NULL, source TEXT NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX event_by_run ON event(run_id);
CREATE TABLE fidelity (
    run_id TEXT PRIMARY KEY REFERENCES run(id) ON DELETE CASCADE,
    cosine_mean REAL, cosine_p1 REAL, cosine_min REAL, overlap_at_1 REAL, overlap_at_10 REAL, spearman REAL,
    texts INTEGER, grade TEXT
);
CREATE TABLE note (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    written_at TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX note_by_run ON note(run_id);
CREATE TABLE tag (
    run_id TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
) WITHOUT ROWID;
CREATE INDEX tag_by_name ON tag(name);
"""

_SWEEPS = """
CREATE TABLE sweep (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    seed INTEGER NOT NULL,
    cells INTEGER NOT NULL,
    spec TEXT NOT NULL
);
CREATE INDEX sweep_by_name ON sweep(name, started_at);
ALTER TABLE run ADD COLUMN sweep_id TEXT REFERENCES sweep(id) ON DELETE SET NULL;
ALTER TABLE run ADD COLUMN cell_hash TEXT;
CREATE INDEX run_by_sweep ON run(sweep_id, cell_hash);
"""

_LIVE = """
ALTER TABLE run ADD COLUMN origin TEXT NOT NULL DEFAULT 'measured';
ALTER TABLE interval ADD COLUMN ticks TEXT;
ALTER TABLE interval ADD COLUMN samples TEXT;
ALTER TABLE interval ADD COLUMN arrived_s REAL;
CREATE TABLE segment (
    run_id TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    start_s REAL NOT NULL, end_s REAL,
    facts TEXT NOT NULL,
    PRIMARY KEY (run_id, ordinal)
) WITHOUT ROWID;
CREATE TABLE switch_delta (
    run_id TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL, at_s REAL NOT NULL,
    facts TEXT NOT NULL,
    PRIMARY KEY (run_id, ordinal, at_s)
) WITHOUT ROWID;
CREATE TABLE marker (
    run_id TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL, by_hand INTEGER NOT NULL,
    facts TEXT NOT NULL,
    PRIMARY KEY (run_id, by_hand, ordinal)
) WITHOUT ROWID;
"""

_WRITERS = """
ALTER TABLE run ADD COLUMN writer_host TEXT;
ALTER TABLE run ADD COLUMN writer_pid INTEGER;
ALTER TABLE run ADD COLUMN heartbeat_at TEXT;
ALTER TABLE sweep ADD COLUMN kind TEXT NOT NULL DEFAULT 'sweep';
UPDATE sweep SET kind = 'max-load' WHERE name = 'max-load' AND spec LIKE '# {"load": %';
UPDATE sweep SET kind = 'live' WHERE name LIKE 'live: %' AND spec LIKE '# embedconsole compare --live,%';
"""

MIGRATIONS = (_RUNS, _SWEEPS, _LIVE, _WRITERS)
"""SQL scripts. The schema version of a file is the number of scripts applied to it."""
LATEST = len(MIGRATIONS)


def schema_version(connection: sqlite3.Connection) -> int:
    """Returns the file's schema version; 0 for a new file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Migrates the file to LATEST in one transaction, also if two processes open it at once."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = schema_version(connection)  # read inside the transaction: another process may have migrated
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
