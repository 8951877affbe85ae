"""Writes a run to the store while it is measured, interval by interval.

A store error never stops a measurement: rows that could not be written are retried with the next interval, and what
cannot be written at the end goes to a spill file.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from console.measure.environment import environment
from console.measure.measurement import Measurement
from console.measure.result import as_json
from console.measure.spec import RunSpec
from console.model.engine import CapabilityCell, Engine
from console.model.frame import LogLine
from console.session.live_metrics import EngineSample
from console.session.session import Session
from console.store.database import BUSY_TIMEOUT_S, Store, StoreError, is_chosen, store_path
from console.store.liveness import this_writer
from console.store.rows import Row, interval_row
from console.store.spill import write_spill
from console.store.write import RunStart, add_intervals, begin_run, finish_run, set_capabilities

BUSY_TIMEOUT_WHILE_MEASURING_S = 0.1
"""SQLite busy timeout during a measurement. It is short because the event loop waits; the next interval retries."""
_KEPT_LEVELS = ("event", "warning", "error")


def utc_now() -> str:
    """Returns the current time as ISO 8601 with milliseconds, the format of all times in the store."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def open_store(named: str, say: Callable[[str], None]) -> Store | None:
    """Returns the store to record into. If the default store is unusable, reports it and returns None.

    Raises StoreError if a store that the user named is unusable.
    """
    try:
        return Store.open(store_path(named))
    except StoreError as error:
        if is_chosen(named):
            raise
        say(f"not recorded: {error}")
        return None


class Recorder:
    """Implements RunObserver for one run. Reads the session and writes the store in the event loop's thread."""

    def __init__(
        self,
        store: Store,
        spec: RunSpec,
        *,
        sweep_id: str | None = None,
        cell_hash: str | None = None,
        log_from: int = 0,
        spill_folder: Path | None = None,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self.trouble = ""
        """Why the last write to the store failed; empty if it succeeded."""
        self._store = store
        self._spec = spec
        self._sweep_id = sweep_id
        self._cell_hash = cell_hash
        self._log_from = log_from
        self._spill_folder = spill_folder or Path(tempfile.gettempdir())
        self._now = now
        self._run_id = ""
        self._start: RunStart | None = None
        self._begun = False
        self._started_s = 0.0
        self._steady_s = spec.warm_up_s + spec.load.ramp_s
        self._seen_until_s = 0.0
        self._pending: list[Row] = []
        self._late_capabilities: Sequence[CapabilityCell] = ()
        self._knows_capabilities = False
        self._written = 0

    def on_start(self, run_id: str, session: Session, started_s: float) -> None:
        """Creates the run in the store."""
        self._started_s = self._seen_until_s = started_s
        self._prepare(run_id, session.frame.engine, session.frame.capabilities)
        self._store.set_busy_timeout(BUSY_TIMEOUT_WHILE_MEASURING_S)
        self._flush()

    @property
    def has_started(self) -> bool:
        """Whether the load of the run has started."""
        return self._start is not None

    def on_intervals(self, session: Session) -> None:
        """Writes the intervals that have arrived since the last call."""
        new = []
        for interval in reversed(session.intervals):
            if interval.end_s <= self._seen_until_s + 1e-6:
                break
            new.append(interval)
        if not new:
            return
        self._seen_until_s = new[0].end_s
        if not self._knows_capabilities and session.frame.capabilities:
            self._knows_capabilities = True
            self._late_capabilities = session.frame.capabilities
        samples = session.samples
        for interval in reversed(new):
            sample = _newest(samples, interval.end_s)
            self._pending.append(interval_row(interval, sample, self._started_s, self._steady_s))
        self._flush()

    def finish(
        self, measurement: Measurement, log: Sequence[LogLine] = (), fidelity: Mapping[str, Any] | None = None
    ) -> Path | None:
        """Writes the verdict and the report. Returns None, or the path of the spill file if the store failed.

        `fidelity` is merged into the report's `fidelity`. Raises OSError if the spill file cannot be written either.
        """
        begun = self._start or self._prepare(measurement.run_id, measurement.engine, ())
        report = as_json(measurement)
        if fidelity is not None:
            report["fidelity"] = {**(report["fidelity"] or {}), **fidelity}
        lines = [line for line in log if line.sequence >= self._log_from and line.level in _KEPT_LEVELS]
        self._store.set_busy_timeout(BUSY_TIMEOUT_S)
        self._flush()
        if not self.trouble:
            try:
                finish_run(self._store, measurement.run_id, self._now(), report, lines)
            except StoreError as error:
                self.trouble = str(error)
            else:
                return None
        start = replace(begun, requested=measurement.engine.requested, effective=measurement.engine.effective)
        return write_spill(self._spill_folder, start, self._now(), report, self._pending, lines)

    def _prepare(self, run_id: str, engine: Engine, capabilities: Sequence[CapabilityCell]) -> RunStart:
        self._run_id = run_id
        self._knows_capabilities = bool(capabilities)
        host, pid = this_writer()
        now = self._now()
        self._start = RunStart(
            run_id=run_id,
            started_at=now,
            requested=engine.requested,
            effective=engine.effective,
            batching=engine.batching,
            spec=asdict(self._spec),
            environment=environment(engine),
            capabilities=capabilities,
            sweep_id=self._sweep_id,
            cell_hash=self._cell_hash,
            writer_host=host,
            writer_pid=pid,
            heartbeat_at=now,
        )
        return self._start

    def _flush(self) -> None:
        """Writes what is pending, in order; what fails stays pending."""
        try:
            if self._start is not None and not self._begun:
                begin_run(self._store, self._start)
                self._begun = True
            if self._late_capabilities:
                set_capabilities(self._store, self._run_id, self._late_capabilities, self._now())
                self._late_capabilities = ()
            if self._pending:
                add_intervals(self._store, self._run_id, self._pending, self._written, self._now())
                self._written += len(self._pending)
                self._pending.clear()
        except StoreError as error:
            self.trouble = str(error)
        else:
            self.trouble = ""


def _newest(samples: Sequence[EngineSample], end_s: float) -> EngineSample | None:
    return next((sample for sample in reversed(samples) if sample.time_s <= end_s), None)
