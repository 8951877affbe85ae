"""A run that its store could not take, in a JSON file beside it, and its way back into a store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from console.model.engine import Batching, Deployment
from console.model.frame import LogLine
from console.store.database import Store, StoreError
from console.store.read import UNFINISHED, RunFilter, list_runs, list_sweeps, load_run
from console.store.rows import Row
from console.store.write import RunStart, add_intervals, begin_run, finish_run

_KEYS = ("start", "ended_at", "report", "intervals", "events")


def write_spill(
    folder: Path, start: RunStart, ended_at: str, report: Mapping[str, Any], pending: Sequence[Row],
    events: Sequence[LogLine],
) -> Path:  # fmt: skip
    """Writes all that is known of the run; `pending`: the intervals that are in no store. Raises OSError."""
    path = folder / f"{start.run_id}.json"
    whole = {
        "start": asdict(replace(start, capabilities=())),  # the matrix is the engine's, and told again with every run
        "ended_at": ended_at,
        "report": report,
        "intervals": list(pending),
        "events": [asdict(line) for line in events],
    }
    path.write_text(json.dumps(whole, ensure_ascii=False), "utf-8")
    return path


def restore_spill(store: Store, path: Path) -> str:
    """Completes the run in the store, or brings it in whole; returns its id. Raises StoreError."""
    start, found = _read(path)
    rows = list_runs(store, RunFilter(run_id=start.run_id))
    if rows and rows[0].verdict != UNFINISHED:
        raise StoreError(f"{start.run_id} is in the store already, with its verdict: {path} can be deleted")
    if not rows:
        in_store = any(one.sweep_id == start.sweep_id for one in list_sweeps(store))
        begin_run(store, start if in_store else replace(start, sweep_id=None))
    known = len(load_run(store, start.run_id).intervals)
    add_intervals(store, start.run_id, found["intervals"], known)
    events = [LogLine(**line) for line in found["events"]]
    finish_run(store, start.run_id, found["ended_at"], found["report"], events)
    return start.run_id


def _read(path: Path) -> tuple[RunStart, Mapping[str, Any]]:
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict) or any(key not in found for key in _KEYS):
            raise ValueError("it lacks " + ", ".join(key for key in _KEYS if key not in found))
        start = dict(found["start"])
        for side in ("requested", "effective"):
            start[side] = Deployment(**start[side])
        start["batching"] = Batching(**start["batching"])
        return RunStart(**start), found
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path} is no run that was laid aside ({error}): name the file that `run` told") from error
