"""Spill files: a run that could not be written to its store, as a JSON file, and its import into a store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from console.model.engine import Batching, Deployment
from console.model.frame import LogLine
from console.model.verdicts import NOT_ENDED
from console.store.database import Store, StoreError
from console.store.read import RunFilter, list_runs, list_sweeps, load_run
from console.store.rows import Row
from console.store.write import RunStart, add_intervals, begin_run, finish_run

_KEYS = ("start", "ended_at", "report", "intervals", "events")


def write_spill(
    folder: Path, start: RunStart, ended_at: str, report: Mapping[str, Any], pending: Sequence[Row],
    events: Sequence[LogLine],
) -> Path:  # fmt: skip
    """Writes the run to a spill file and returns its path. Raises OSError.

    `pending` are the intervals that are not in the store. The capability matrix is left out: other runs store it.
    """
    path = folder / f"{start.run_id}.json"
    content = {
        "start": asdict(replace(start, capabilities=())),
        "ended_at": ended_at,
        "report": report,
        "intervals": list(pending),
        "events": [asdict(line) for line in events],
    }
    path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    return path


def restore_spill(store: Store, path: Path) -> str:
    """Imports the run, or completes it if the store has its beginning; returns its id. Raises StoreError."""
    start, content = _read(path)
    rows = list_runs(store, RunFilter(run_id=start.run_id))
    if rows and rows[0].verdict not in NOT_ENDED:
        raise StoreError(f"{start.run_id} is already complete in the store: {path} can be deleted")
    if not rows:
        in_store = any(one.sweep_id == start.sweep_id for one in list_sweeps(store))
        begin_run(store, start if in_store else replace(start, sweep_id=None))
    stored = len(load_run(store, start.run_id).intervals)
    add_intervals(store, start.run_id, content["intervals"], stored)
    events = [LogLine(**line) for line in content["events"]]
    finish_run(store, start.run_id, content["ended_at"], content["report"], events)
    return start.run_id


def _read(path: Path) -> tuple[RunStart, Mapping[str, Any]]:
    try:
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict) or any(key not in content for key in _KEYS):
            raise ValueError("it lacks " + ", ".join(key for key in _KEYS if key not in content))
        start = dict(content["start"])
        for side in ("requested", "effective"):
            start[side] = Deployment(**start[side])
        start["batching"] = Batching(**start["batching"])
        return RunStart(**start), content
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path} is not a spill file ({error}): give the file that `run` named") from error
