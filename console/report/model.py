"""What a report says, computed from stored runs alone; renderers add nothing to it but form. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from console.analysis.differences import differing, environment_facts
from console.analysis.ratios import Ratio
from console.model.engine import CapabilityCell
from console.report.cells import Cell, Coalescing, cells_of
from console.report.findings import SummaryRow, find, summarise
from console.report.recommend import Recommendation, recommend
from console.store.read import UNFINISHED, StoredRun

_BASELINES = (("torch", "fp32"), ("onnx", "fp32"), ("openvino", "fp32"))
_MOST_SOURCES = 3


class NothingToReport(Exception):
    """The runs hold no ended measurement, or not the load that was asked for; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Against:
    """A cell at the chosen load, and its throughput over the baseline's."""

    cell: Cell
    ratio: Ratio | None
    is_baseline: bool


@dataclass(frozen=True, slots=True)
class Trade:
    """A deployment's best sound speed at the chosen load beside its fidelity."""

    cell: Cell
    on_front: bool
    """No other cell is both faster and closer to fp32."""


@dataclass(frozen=True, slots=True)
class ReportModel:
    """Sections of a report. Empty ones were not measured."""

    title: str
    sources: tuple[str, ...]
    runs_given: int
    """Those that stand behind no cell were measured again."""
    first_run_at: str
    last_run_at: str
    slo_p95_ms: float | None
    cells: tuple[Cell, ...]
    chosen: str
    """The load at which deployments are compared."""
    baseline: Cell | None
    summary: tuple[SummaryRow, ...]
    findings: tuple[str, ...]
    throughput: tuple[Against, ...]
    """Fastest first."""
    coalescing: tuple[Coalescing, ...]
    trades: tuple[Trade, ...]
    capabilities: tuple[CapabilityCell, ...]
    recommendations: tuple[Recommendation, ...]
    environment: Mapping[str, Any]
    """Dotted names; of the last run."""
    mixed: tuple[str, ...]
    """Facts of the environment that are not the same for all runs: `git.revision (3 values)`."""
    unsound: tuple[Cell, ...]


def build_report(
    runs: Sequence[StoredRun],
    sources: Sequence[str],
    *,
    at: tuple[int, int] | None = None,
    baseline: str = "",
    slo_p95_ms: float | None = None,
) -> ReportModel:
    """`at`: batch and concurrency of the chosen load; `baseline`: a deployment as the report names it. Raises
    NothingToReport.
    """
    cells = cells_of(runs)
    if slo_p95_ms is not None:
        cells = tuple(replace(cell, slo_p95_ms=slo_p95_ms) for cell in cells)
    if not any(cell.texts_per_s for cell in cells):
        raise NothingToReport("no run here has measured anything: make one with `embedconsole run`, or name others")
    chosen = _chosen(cells, at)
    here = [cell for cell in cells if cell.load.name == chosen and cell.texts_per_s]
    base = _baseline(here, baseline)
    slo_ms = next((cell.slo_p95_ms for cell in cells if cell.slo_p95_ms), None)
    coalescing = _coalescing(cells)
    last = max(runs, key=lambda run: run.row.started_at)
    facts = environment_facts(last.environment)
    machine = facts.get("cpu_model") or "an unknown machine"
    if cores := facts.get("cores"):
        machine += f", {cores} core{'s' if cores != 1 else ''}"
    if gpu := facts.get("gpu.model"):
        machine = f"{gpu}, {machine}"
    matrix = next((run.capabilities for run in reversed(runs) if run.capabilities), ())
    return ReportModel(
        title=f"{last.row.model or 'Embedding engine'} on {machine}",
        sources=_sources(sources),
        runs_given=sum(run.row.verdict != UNFINISHED for run in runs),
        first_run_at=min(run.row.started_at for run in runs),
        last_run_at=last.row.started_at,
        slo_p95_ms=slo_ms,
        cells=cells,
        chosen=chosen,
        baseline=base,
        summary=summarise(cells, here, base, coalescing, slo_ms),
        findings=find(cells, here, base, coalescing),
        throughput=_against(here, base),
        coalescing=coalescing,
        trades=_trades(here),
        capabilities=tuple(matrix),
        recommendations=recommend(cells, here, slo_ms),
        environment=facts,
        mixed=_mixed(runs),
        unsound=tuple(cell for cell in cells if not cell.is_valid),
    )


def _mixed(runs: Sequence[StoredRun]) -> tuple[str, ...]:
    found = differing([environment_facts(run.environment) for run in runs if run.environment])
    return tuple(f"{name} ({len(set(map(str, values)))} values)" for name, values in found.items())


def _sources(names: Sequence[str]) -> tuple[str, ...]:
    return (
        tuple(names) if len(names) <= _MOST_SOURCES else (*names[:_MOST_SOURCES], f"{len(names) - _MOST_SOURCES} more")
    )


def _chosen(cells: Sequence[Cell], at: tuple[int, int] | None) -> str:
    """The load that most deployments were measured at, the larger one of two; or the one that was asked for.

    Of rates the highest that was carried: one that was not says little of a deployment.
    """
    measured = [cell for cell in cells if cell.texts_per_s]
    if at is not None:
        asked = [cell for cell in measured if (cell.load.batch, cell.load.concurrency) == at and not cell.load.rate]
        if not asked:
            known = ", ".join(
                dict.fromkeys(f"{c.load.batch}x{c.load.concurrency}" for c in measured if not c.load.rate)
            )
            raise NothingToReport(f"nothing was measured at {at[0]}x{at[1]}: --at takes one of {known}")
        measured = asked
    names = Counter(cell.load.name for cell in measured)
    size = {cell.load.name: cell.load.batch * (cell.load.rate or cell.load.concurrency) for cell in measured}
    plain = {cell.load.name: cell.load.coalesce for cell in measured}
    carried = {cell.load.name: not (cell.load.rate and cell.slo_missed) for cell in measured}
    return max(names, key=lambda name: (names[name], carried[name], plain[name], size[name]))


def _baseline(here: Sequence[Cell], asked: str) -> Cell | None:
    if asked:
        found = [cell for cell in here if asked in (cell.name, cell.effective.cell, cell.name.replace("·", " "))]
        if not found:
            names = ", ".join(cell.name for cell in here)
            raise NothingToReport(f"no deployment {asked!r} at the chosen load: --baseline takes one of {names}")
        return found[0]
    for backend, precision in _BASELINES if len(here) > 1 else ():
        for cell in here:
            if (cell.effective.backend, cell.effective.precision) == (backend, precision) and not cell.fell_back:
                return cell
    return here[0] if len(here) > 1 else None


def _against(here: Sequence[Cell], base: Cell | None) -> tuple[Against, ...]:
    ordered = sorted(here, key=lambda cell: -(cell.texts_per_s or 0.0))
    return tuple(
        Against(cell, cell.over(base) if base and cell is not base else None, cell is base) for cell in ordered
    )


def _coalescing(cells: Sequence[Cell]) -> tuple[Coalescing, ...]:
    def key(cell: Cell) -> tuple[Any, ...]:
        load = cell.load
        return (cell.name, load.batch, load.concurrency, load.rate, load.workload, load.corpus, load.stream)

    on = {key(cell): cell for cell in cells if cell.load.coalesce and cell.texts_per_s}
    pairs = [(cell, on[key(cell)]) for cell in cells if not cell.load.coalesce and cell.texts_per_s and key(cell) in on]
    pairs.sort(key=lambda pair: (pair[0].name, pair[0].load.batch, pair[0].load.concurrency))
    return tuple(Coalescing(off, with_it, with_it.over(off)) for off, with_it in pairs)


def _trades(here: Sequence[Cell]) -> tuple[Trade, ...]:
    known = [cell for cell in here if cell.fidelity is not None]

    def beaten(cell: Cell) -> bool:
        speed, close = cell.texts_per_s or 0.0, cell.fidelity or 0.0
        return any(
            other is not cell and (other.texts_per_s or 0.0) >= speed and (other.fidelity or 0.0) >= close
            and ((other.texts_per_s or 0.0) > speed or (other.fidelity or 0.0) > close)
            for other in known
        )  # fmt: skip

    ordered = sorted(known, key=lambda cell: -(cell.texts_per_s or 0.0))
    return tuple(Trade(cell, not beaten(cell)) for cell in ordered)
