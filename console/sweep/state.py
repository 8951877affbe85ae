"""Where a sweep stands: one immutable snapshot that a screen or a progress line can draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from console.measure.run import Measurement, Verdict
from console.model.engine import Deployment
from console.store.read import RunRow
from console.sweep.cell import SweepCell


class CellStatus(StrEnum):
    """Of one cell."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CellFigures:
    """What was measured of a cell. None where it cannot be stated, or nobody judged."""

    run_id: str
    verdict: str
    interrupted: bool
    effective: Deployment
    texts_per_s: float | None
    texts_per_s_low: float | None
    texts_per_s_high: float | None
    throughput_stable: bool | None
    latency_n: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p95_stable: bool | None
    fidelity: float | None
    errors: int
    slo_missed: bool
    rss_bytes: int | None


@dataclass(frozen=True, slots=True)
class CellState:
    """One cell and what has become of it."""

    cell: SweepCell
    status: CellStatus = CellStatus.WAITING
    figures: CellFigures | None = None
    message: str = ""
    """Why it failed or was skipped."""
    resumed: bool = False
    """Measured by an earlier part of the same sweep."""
    fell_back: str = ""
    """The engine's sentence, where something else ran than was asked for."""


@dataclass(frozen=True, slots=True)
class SweepState:
    """All cells in the order in which they are measured."""

    sweep_id: str
    name: str
    cells: Sequence[CellState] = ()
    doing: str = ""
    """What happens now, in words: starting the engine, switching, warming up, measuring."""
    left_s: float = 0.0
    """How long the rest will take, by what has been seen so far."""
    paused: bool = False
    ending: bool = False
    """It ends after the running cell."""
    ended: bool = False
    trouble: str = ""
    """Why the store could not take something; empty when it could."""

    def count(self, status: CellStatus) -> int:
        return sum(one.status is status for one in self.cells)

    @property
    def running(self) -> int | None:
        """The place of the cell that is being measured."""
        return next((place for place, one in enumerate(self.cells) if one.status is CellStatus.RUNNING), None)


def figures_of_measurement(measurement: Measurement) -> CellFigures:
    """Of a run that has just ended."""
    rates, latency = measurement.rates, measurement.latency
    return CellFigures(
        run_id=measurement.run_id,
        verdict=str(measurement.verdict),
        interrupted=measurement.interrupted,
        effective=measurement.engine.effective,
        texts_per_s=rates.texts_per_s if rates else None,
        texts_per_s_low=rates.low if rates else None,
        texts_per_s_high=rates.high if rates else None,
        throughput_stable=measurement.throughput_judgement.stable,
        latency_n=latency.n,
        p50_ms=latency.p50_ms,
        p95_ms=latency.p95_ms,
        p99_ms=latency.p99_ms,
        p95_stable=measurement.p95_judgement.stable,
        fidelity=measurement.fidelity,
        errors=sum(measurement.errors.values()),
        slo_missed=measurement.slo_missed,
        rss_bytes=measurement.rss_bytes or None,
    )


def figures_of_row(row: RunRow) -> CellFigures:
    """Of a run in the store."""

    def judged(stable: int | None) -> bool | None:
        return None if stable is None else bool(stable)

    return CellFigures(
        run_id=row.run_id,
        verdict=row.verdict,
        interrupted=bool(row.interrupted),
        effective=row.effective,
        texts_per_s=row.texts_per_s,
        texts_per_s_low=row.texts_per_s_low,
        texts_per_s_high=row.texts_per_s_high,
        throughput_stable=judged(row.throughput_stable),
        latency_n=row.latency_n,
        p50_ms=row.p50_ms,
        p95_ms=row.p95_ms,
        p99_ms=row.p99_ms,
        p95_stable=judged(row.p95_stable),
        fidelity=row.fidelity,
        errors=row.errors,
        slo_missed=bool(row.slo_missed),
        rss_bytes=row.rss_bytes,
    )


def status_of(figures: CellFigures) -> CellStatus:
    """A measured cell is done, however shaky its figures."""
    return CellStatus.FAILED if figures.verdict == Verdict.FAILED else CellStatus.DONE
