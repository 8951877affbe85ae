"""A cell as this machine knows it: what the rules say, what its probe found, what was last measured of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from engine.backends.base import Cell
from engine.capabilities.measurements import Measured
from engine.capabilities.probes import Probe, ProbeResult
from engine.capabilities.resolve import CellReport, matrix
from engine.capabilities.rules import CellState
from engine.host.machine import PlatformFacts


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of `engine capabilities`."""

    report: CellReport
    probe: Probe = field(default_factory=Probe)
    measured: Measured | None = None


def findings(
    facts: PlatformFacts,
    probes: Mapping[Cell, Probe] | None = None,
    measured: Mapping[Cell, Measured] | None = None,
) -> Iterator[Finding]:
    """Every cell of the matrix, with a rule that its probe contradicts shown as such."""
    for report in matrix(facts):
        probe = (probes or {}).get(report.asked, Probe())
        yield Finding(_against(report, probe), probe, (measured or {}).get(report.asked))


def _against(report: CellReport, probe: Probe) -> CellReport:
    if report.runs_as_asked and probe.result is ProbeResult.FAILED:
        return replace(
            report,
            state=CellState.UNAVAILABLE,
            code="probe_failed",
            reason=f"the rules say that {report.asked} runs here, but it did not when tried: {probe.detail}",
            fix="report it with `engine capabilities --json`",
        )
    if not report.runs_as_asked and probe.result is ProbeResult.PASSED:
        return replace(report, reason=f"{report.reason} (though it ran when tried: {probe.detail})")
    return report
