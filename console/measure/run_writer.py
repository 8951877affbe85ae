"""Writes one run to the store piece by piece. Store errors are kept, and never raised."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from console.model.engine import Batching, CapabilityCell, Deployment
from console.model.frame import LogLine
from console.model.recording import Segment
from console.store.database import BUSY_TIMEOUT_S, Store, StoreError
from console.store.live import SwitchRecord, add_switches, set_segments
from console.store.liveness import this_writer, utc_now
from console.store.rows import Row
from console.store.spill import Spill, write_spill
from console.store.write import (
    RunStart,
    add_intervals,
    add_tags,
    begin_run,
    delete_runs,
    finish_run,
    remove_tags,
    set_capabilities,
)

BUSY_TIMEOUT_WHILE_MEASURING_S = 0.1
"""SQLite busy timeout during a measurement. It is short because the caller waits; the next piece retries."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended. `report`: the object of `run --json`."""

    ended_at: str
    report: Mapping[str, Any]
    lines: Sequence[LogLine]
    requested: Deployment
    effective: Deployment
    batching: Batching | None = None
    """The knobs of the figures, if they may differ from those at the start."""


@dataclass(slots=True)
class _Pending:
    """What the store has not taken yet."""

    intervals: list[Row] = field(default_factory=list)
    capabilities: Sequence[CapabilityCell] = ()
    segments: Sequence[Segment] = ()
    switches: SwitchRecord = field(default_factory=SwitchRecord)
    tags: tuple[str, ...] = ()
    removed_tags: tuple[str, ...] = ()


class RunWriter:
    """Writes a run. What the store does not take stays pending and is retried by the next call.

    What is pending at the end goes to a spill file. All calls must be made in the thread that opens the store.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        start: RunStart,
        spill_folder: Path | None = None,
        now: Callable[[], str] = utc_now,
    ) -> None:
        """`open_store`: returns the open store; may raise StoreError, also repeatedly. `now`: for the heartbeat."""
        self.trouble = ""
        """Why the last write to the store failed; empty if it succeeded."""
        self.spill: Path | None = None
        self._open_store = open_store
        host, pid = this_writer()
        self._start = replace(start, writer_host=host, writer_pid=pid, heartbeat_at=start.started_at)
        self._clock = now
        self._spill_folder = spill_folder or Path(tempfile.gettempdir())
        self._pending = _Pending()
        self._now = start.started_at
        self._begun = False
        self._written = 0
        self._end: RunEnd | None = None
        self._busy_timeout_s = 0.0

    @property
    def run_id(self) -> str:
        return self._start.run_id

    def begin(self) -> None:
        """Creates the run in the store."""
        self._flush()

    def add_intervals(self, rows: Sequence[Row], capabilities: Sequence[CapabilityCell] = ()) -> None:
        """Adds intervals, and the capability matrix if the run started without one."""
        self._pending.intervals += rows
        self._pending.capabilities = capabilities or self._pending.capabilities
        self._flush()

    def set_segments(self, segments: Sequence[Segment]) -> None:
        """Replaces the segments; they are written with the next interval."""
        self._pending.segments = segments

    def add_switches(self, record: SwitchRecord) -> None:
        """Adds versions of switch deltas, and markers, also after the end."""
        before = self._pending.switches
        self._pending.switches = SwitchRecord((*before.deltas, *record.deltas), (*before.markers, *record.markers))
        self._flush()

    def replace_tag(self, old: str, new: str) -> None:
        """Replaces a tag by another one, also after the end. Empty: none."""
        if old:
            self._pending.tags = tuple(tag for tag in self._pending.tags if tag != old)
            self._pending.removed_tags = (*self._pending.removed_tags, old)
        if new:
            self._pending.tags = (*self._pending.tags, new)
            self._pending.removed_tags = tuple(tag for tag in self._pending.removed_tags if tag != new)
        self._flush()

    def finish(self, end: RunEnd) -> Path | None:
        """Ends the run. Returns None, or the path of the spill file if the store failed.

        Raises OSError if the spill file cannot be written either.
        """
        self._end = end
        self._flush(BUSY_TIMEOUT_S)
        return self.spill

    def discard(self) -> None:
        """Deletes the run and its spill file. Raises StoreError if the store keeps it, OSError for the file."""
        self._end = None
        if self.spill is not None:
            self.spill.unlink(missing_ok=True)
        if self._begun:
            store = self._open_store()
            self._set_busy_timeout(store, BUSY_TIMEOUT_S)
            delete_runs(store, (self.run_id,))

    def _flush(self, busy_timeout_s: float = BUSY_TIMEOUT_WHILE_MEASURING_S) -> None:
        """Writes what is pending, in order; what fails stays pending, or goes to the spill file after the end."""
        if self.spill is not None and self._end is not None:  # the rest belongs to the spill file too
            self._write_spill(self._end)
            return
        try:
            store = self._open_store()
            self._set_busy_timeout(store, busy_timeout_s)
            self._write_pending(store)
        except StoreError as error:
            self.trouble = str(error)
            if self._end is not None:
                self._write_spill(self._end)
        else:
            self.trouble = ""

    def _set_busy_timeout(self, store: Store, seconds: float) -> None:
        if seconds != self._busy_timeout_s:
            store.set_busy_timeout(seconds)
            self._busy_timeout_s = seconds

    def _write_pending(self, store: Store) -> None:
        pending, run_id = self._pending, self.run_id
        if not self._begun:
            begin_run(store, self._start)
            self._begun = True
        if pending.capabilities:
            set_capabilities(store, run_id, pending.capabilities, self._now)
            pending.capabilities = ()
        if pending.intervals:
            add_intervals(store, run_id, pending.intervals, self._written, self._clock())
            self._written += len(pending.intervals)
            pending.intervals.clear()
        if pending.segments:
            set_segments(store, run_id, pending.segments)
            pending.segments = ()
        if pending.switches != SwitchRecord():
            add_switches(store, run_id, pending.switches)
            pending.switches = SwitchRecord()
        if pending.removed_tags:
            remove_tags(store, run_id, pending.removed_tags)
            pending.removed_tags = ()
        if pending.tags:
            add_tags(store, run_id, pending.tags)
            pending.tags = ()
        if (end := self._end) is not None:
            finish_run(store, run_id, end.ended_at, end.report, end.lines, end.batching)
            self._end = None

    def _write_spill(self, end: RunEnd) -> None:
        pending = self._pending
        self.spill = write_spill(
            self._spill_folder,
            Spill(
                start=replace(self._start, requested=end.requested, effective=end.effective),
                ended_at=end.ended_at,
                report=end.report,
                intervals=pending.intervals,
                events=end.lines,
                batching=end.batching,
                segments=pending.segments,
                switches=pending.switches,
                tags=pending.tags,
            ),
        )
