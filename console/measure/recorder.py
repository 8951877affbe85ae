"""Writes a run to the store while it is measured, interval by interval.

A store error never stops a measurement: rows that could not be written are retried with the next interval, and what
cannot be written at the end goes to a spill file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from console.measure.environment import environment
from console.measure.measurement import Measurement
from console.measure.result import as_json
from console.measure.run_writer import RunEnd, RunWriter
from console.measure.spec import RunSpec
from console.model.engine import CapabilityCell, Engine
from console.model.frame import LogLine
from console.session.live_metrics import EngineSample
from console.session.session import Session
from console.store.database import Store, StoreError, is_chosen, store_path
from console.store.liveness import utc_now
from console.store.rows import interval_row
from console.store.write import RunStart

KEPT_LEVELS = ("event", "warning", "error")
"""Levels of the log lines that are stored with a run."""


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
        self._store = store
        self._spec = spec
        self._sweep_id = sweep_id
        self._cell_hash = cell_hash
        self._log_from = log_from
        self._spill_folder = spill_folder
        self._now = now
        self._writer: RunWriter | None = None
        self._started_s = 0.0
        self._steady_s = spec.warm_up_s + spec.load.ramp_s
        self._seen_until_s = 0.0
        self._knows_capabilities = False

    @property
    def trouble(self) -> str:
        """Why the last write to the store failed; empty if it succeeded."""
        return self._writer.trouble if self._writer is not None else ""

    def on_start(self, run_id: str, session: Session, started_s: float) -> None:
        """Creates the run in the store."""
        self._started_s = self._seen_until_s = started_s
        self._prepare(run_id, session.frame.engine, session.frame.capabilities).begin()

    @property
    def has_started(self) -> bool:
        """Whether the load of the run has started."""
        return self._writer is not None

    def on_intervals(self, session: Session) -> None:
        """Writes the intervals that have arrived since the last call."""
        new = []
        for interval in reversed(session.intervals):
            if interval.end_s <= self._seen_until_s + 1e-6:
                break
            new.append(interval)
        if not new or self._writer is None:
            return
        self._seen_until_s = new[0].end_s
        late: Sequence[CapabilityCell] = ()
        if not self._knows_capabilities and session.frame.capabilities:
            self._knows_capabilities = True
            late = session.frame.capabilities
        samples = session.samples
        rows = []
        for interval in reversed(new):
            sample = newest_sample(samples, interval.end_s)
            rows.append(interval_row(interval, sample, self._started_s, self._steady_s))
        self._writer.add_intervals(rows, late)

    def finish(
        self, measurement: Measurement, log: Sequence[LogLine] = (), fidelity: Mapping[str, Any] | None = None
    ) -> Path | None:
        """Writes the verdict and the report. Returns None, or the path of the spill file if the store failed.

        `fidelity` is merged into the report's `fidelity`. Raises OSError if the spill file cannot be written either.
        """
        engine = measurement.engine
        writer = self._writer or self._prepare(measurement.run_id, engine, ())
        report = as_json(measurement)
        if fidelity is not None:
            report["fidelity"] = {**(report["fidelity"] or {}), **fidelity}
        lines = [line for line in log if line.sequence >= self._log_from and line.level in KEPT_LEVELS]
        return writer.finish(RunEnd(self._now(), report, lines, engine.requested, engine.effective))

    def _prepare(self, run_id: str, engine: Engine, capabilities: Sequence[CapabilityCell]) -> RunWriter:
        self._knows_capabilities = bool(capabilities)
        start = RunStart(
            run_id=run_id,
            started_at=self._now(),
            requested=engine.requested,
            effective=engine.effective,
            batching=engine.batching,
            spec=asdict(self._spec),
            environment=environment(engine),
            capabilities=capabilities,
            sweep_id=self._sweep_id,
            cell_hash=self._cell_hash,
        )
        self._writer = RunWriter(lambda: self._store, start, self._spill_folder, self._now)
        return self._writer


def newest_sample(samples: Sequence[EngineSample], end_s: float) -> EngineSample | None:
    """Returns the last sample until `end_s`; None if there is none."""
    return next((sample for sample in reversed(samples) if sample.time_s <= end_s), None)
