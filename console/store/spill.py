"""Spill files: a run that could not be written to its store, as a JSON file, and its import into a store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from console.model.engine import Batching, Deployment
from console.model.frame import LogLine
from console.model.recording import Segment
from console.model.verdicts import NOT_ENDED
from console.store.database import Store, StoreError
from console.store.live import DeltaVersion, SwitchRecord, add_switches, delta_of, marker_of, segment_of, set_segments
from console.store.read import RunFilter, list_runs, list_sweeps, load_run
from console.store.rows import Row
from console.store.write import RunStart, add_intervals, add_tags, begin_run, finish_run

_KEYS = ("start", "ended_at", "report", "intervals", "events")


@dataclass(frozen=True, slots=True)
class Spill:
    """What is written of a run: its start and end, and those of its parts that are not in the store."""

    start: RunStart
    ended_at: str
    report: Mapping[str, Any]
    intervals: Sequence[Row]
    events: Sequence[LogLine]
    batching: Batching | None = None
    """The knobs of the figures, if they may differ from those at the start."""
    segments: Sequence[Segment] = ()
    switches: SwitchRecord = field(default_factory=SwitchRecord)
    tags: Sequence[str] = ()


def write_spill(folder: Path, spill: Spill) -> Path:
    """Writes the run to a spill file and returns its path. Raises OSError.

    The capability matrix is left out: other runs store it.
    """
    path = folder / f"{spill.start.run_id}.json"
    content = asdict(replace(spill, start=replace(spill.start, capabilities=())))
    path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    return path


def restore_spill(store: Store, path: Path) -> str:
    """Imports the run, or completes it if the store has its beginning; returns its id. Raises StoreError."""
    spill = _read(path)
    start = spill.start
    rows = list_runs(store, RunFilter(run_id=start.run_id))
    if rows and rows[0].verdict not in NOT_ENDED:
        raise StoreError(f"{start.run_id} is already complete in the store: {path} can be deleted")
    if not rows:
        in_store = any(one.sweep_id == start.sweep_id for one in list_sweeps(store))
        begin_run(store, start if in_store else replace(start, sweep_id=None))
    stored = len(load_run(store, start.run_id).intervals)
    add_intervals(store, start.run_id, spill.intervals, stored)
    if spill.segments:
        set_segments(store, start.run_id, spill.segments)
    add_switches(store, start.run_id, spill.switches)
    add_tags(store, start.run_id, spill.tags)
    finish_run(store, start.run_id, spill.ended_at, spill.report, spill.events, spill.batching)
    return start.run_id


def _read(path: Path) -> Spill:
    try:
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict) or any(key not in content for key in _KEYS):
            raise ValueError("it lacks " + ", ".join(key for key in _KEYS if key not in content))
        start = dict(content["start"])
        for side in ("requested", "effective"):
            start[side] = Deployment(**start[side])
        start["batching"] = Batching(**start["batching"])
        switches = content.get("switches") or {}
        return Spill(
            start=RunStart(**start),
            ended_at=content["ended_at"],
            report=content["report"],
            intervals=content["intervals"],
            events=[LogLine(**line) for line in content["events"]],
            batching=Batching(**content["batching"]) if content.get("batching") else None,
            segments=[segment_of(one) for one in content.get("segments") or ()],
            switches=SwitchRecord(
                tuple(DeltaVersion(one["at_s"], delta_of(one["delta"])) for one in switches.get("deltas") or ()),
                tuple(marker_of(one) for one in switches.get("markers") or ()),
            ),
            tags=content.get("tags") or (),
        )
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path} is not a spill file ({error}): give the file that `run` named") from error
