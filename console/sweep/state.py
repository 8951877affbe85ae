"""The state of a sweep as an immutable snapshot that a screen or a progress line can draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from console.measure.measurement import Measurement
from console.model.engine import Deployment
from console.model.verdicts import Verdict
from console.store.read import RunRow
from console.sweep.point import SweepPoint


class PointStatus(StrEnum):
    """The status of one point."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class PointFigures:
    """The figures of a measured point. A field is None if it cannot be stated or was not judged."""

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
class PointState:
    """One point with its status and figures."""

    point: SweepPoint
    status: PointStatus = PointStatus.WAITING
    figures: PointFigures | None = None
    message: str = ""
    """Why it failed or was skipped."""
    resumed: bool = False
    """Measured by an earlier part of the same sweep."""
    fell_back: str = ""
    """The engine's message if it fell back from the requested deployment; else empty."""


@dataclass(frozen=True, slots=True)
class SweepState:
    """A sweep and its points, in the order of measurement."""

    sweep_id: str
    name: str
    points: Sequence[PointState] = ()
    doing: str = ""
    """The current step in words: starting the engine, switching, warming up, measuring."""
    left_s: float = 0.0
    """Expected duration of the rest, from the times seen so far."""
    paused: bool = False
    ending: bool = False
    """The sweep ends after the running point."""
    ended: bool = False
    trouble: str = ""
    """Why the store or the restoration of the engine failed; empty if neither did."""

    def count(self, status: PointStatus) -> int:
        """Returns the number of points with this status."""
        return sum(one.status is status for one in self.points)

    @property
    def running(self) -> int | None:
        """The index of the point that is being measured; None if there is none."""
        return next((index for index, one in enumerate(self.points) if one.status is PointStatus.RUNNING), None)


def figures_of_measurement(measurement: Measurement) -> PointFigures:
    """Returns the figures of a run that has just ended."""
    rates, latency = measurement.rates, measurement.latency
    return PointFigures(
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


def figures_of_row(row: RunRow) -> PointFigures:
    """Returns the figures of a stored run."""

    def judged(stable: int | None) -> bool | None:
        return None if stable is None else bool(stable)

    return PointFigures(
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


def status_of(figures: PointFigures) -> PointStatus:
    """Returns DONE for a measured point, even if its figures are unstable; FAILED for a failed run."""
    return PointStatus.FAILED if figures.verdict == Verdict.FAILED else PointStatus.DONE
