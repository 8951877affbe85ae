"""The capability matrix: for each cell the report by the rules, the result of its probe, and its last measurements."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from engine.backends.base import Cell
from engine.capabilities.measurements import Measurement
from engine.capabilities.probes import Probe, ProbeResult
from engine.capabilities.resolve import CellReport, report_cells
from engine.capabilities.rules import CellState
from engine.host.machine import PlatformFacts


@dataclass(frozen=True, slots=True)
class CapabilityCell:
    """One cell of the capability matrix; one row of `engine capabilities --json`."""

    report: CellReport
    probe: Probe = field(default_factory=Probe)
    measurement: Measurement | None = None


def capability_matrix(
    facts: PlatformFacts,
    probes: Mapping[Cell, Probe] | None = None,
    measurements: Mapping[Cell, Measurement] | None = None,
) -> Iterator[CapabilityCell]:
    """Yields every cell of the matrix. A report that the probe contradicts is corrected."""
    for report in report_cells(facts):
        probe = (probes or {}).get(report.asked, Probe())
        yield CapabilityCell(_corrected(report, probe), probe, (measurements or {}).get(report.asked))


def _corrected(report: CellReport, probe: Probe) -> CellReport:
    if report.runs_as_asked and probe.result is ProbeResult.FAILED:
        return replace(
            report,
            state=CellState.UNAVAILABLE,
            code="probe_failed",
            reason=f"the rules say that {report.asked} runs here, but its probe failed: {probe.detail}",
            fix="report it with `engine capabilities --json`",
        )
    if not report.runs_as_asked and probe.result is ProbeResult.PASSED:
        return replace(report, reason=f"{report.reason} (but its probe passed: {probe.detail})")
    return report
