"""The content of a report, computed from stored runs alone; renderers only format it. Pure functions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from console.analysis.differences import differing, environment_facts
from console.analysis.ratios import Ratio
from console.model.engine import CapabilityCell
from console.model.verdicts import NOT_ENDED
from console.report.answer import Answer, answer_of
from console.report.findings import SummaryRow, findings_of, summarise
from console.report.recommend import Recommendation, recommend
from console.report.rows import Coalescing, ReportRow, rows_of
from console.store.read import RunRow, StoredRun

_BASELINES = (("torch", "fp32"), ("onnx", "fp32"), ("openvino", "fp32"))
"""Deployments that serve as the baseline unless one is named, in order of preference."""
_MOST_SOURCES = 3


class NothingToReport(Exception):
    """The runs hold no measurement, or none at the requested load or baseline; the message names the next step."""


@dataclass(frozen=True, slots=True)
class BaselineComparison:
    """A row at the chosen load. `ratio` is its throughput over that of the baseline."""

    row: ReportRow
    ratio: Ratio | None
    is_baseline: bool


@dataclass(frozen=True, slots=True)
class TradeOff:
    """A row at the chosen load whose fidelity is known."""

    row: ReportRow
    on_front: bool
    """On the Pareto front: no other row is both faster and closer to fp32."""


@dataclass(frozen=True, slots=True)
class ReportModel:
    """The sections of a report. An empty one was not measured."""

    title: str
    """The model and the machine."""
    heading: str
    """The title of the page."""
    answer: Answer
    made_by: tuple[str, ...]
    """The commands that measured the runs."""
    sources: tuple[str, ...]
    runs_given: int
    """Runs that ended. Those that belong to no row were superseded by a later run."""
    first_run_at: str
    last_run_at: str
    slo_p95_ms: float | None
    rows: tuple[ReportRow, ...]
    chosen: str
    """Name of the load at which deployments are compared."""
    baseline: ReportRow | None
    summary: tuple[SummaryRow, ...]
    findings: tuple[str, ...]
    throughput: tuple[BaselineComparison, ...]
    """Fastest first."""
    coalescing: tuple[Coalescing, ...]
    trades: tuple[TradeOff, ...]
    capabilities: tuple[CapabilityCell, ...]
    recommendations: tuple[Recommendation, ...]
    environment: Mapping[str, Any]
    """Facts of the last run, with dotted names."""
    mixed: tuple[str, ...]
    """Facts of the environment that differ between runs: `git.revision (3 values)`."""
    invalid: tuple[ReportRow, ...]
    """Rows whose verdict is not ok."""

    @property
    def chosen_title(self) -> str:
        """The chosen load as headings name it: `batch 32, 4 in flight`."""
        return self.throughput[0].row.load.title


def build_report(
    runs: Sequence[StoredRun],
    sources: Sequence[str],
    *,
    at: tuple[int, int] | None = None,
    baseline: str = "",
    slo_p95_ms: float | None = None,
    heading: str = "",
    made_by: Sequence[str] = (),
    swept: Sequence[RunRow] = (),
) -> ReportModel:
    """Builds the report of these runs, which come from `sources` and were measured by the commands `made_by`.

    `at` is the batch size and concurrency of the chosen load, `baseline` the name of a deployment as the report
    prints it. `slo_p95_ms` replaces the SLO of the runs. `heading` replaces the title of the page. `swept` holds all
    runs of the sweeps that `runs` are of. Raises NothingToReport.
    """
    rows = rows_of(runs, swept)
    if slo_p95_ms is not None:
        rows = tuple(replace(row, slo_p95_ms=slo_p95_ms) for row in rows)
    if not any(row.texts_per_s for row in rows):
        raise NothingToReport("these runs hold no measurement: make one with `embedconsole run`, or name other runs")
    chosen = _chosen(rows, at)
    here = [row for row in rows if row.load.name == chosen and row.texts_per_s]
    base = _baseline(here, baseline)
    slo_ms = next((row.slo_p95_ms for row in rows if row.slo_p95_ms), None)
    coalescing = _coalescing(rows)
    last = max(runs, key=lambda run: run.row.started_at)
    facts = environment_facts(last.environment)
    title, mixed = f"{last.row.model or 'Embedding engine'} on {_machine(facts)}", _mixed(runs)
    answer = answer_of(rows, here, base, slo_ms, mixed)
    matrix = next((run.capabilities for run in reversed(runs) if run.capabilities), ())
    return ReportModel(
        title=title,
        heading=heading or f"Embedding engine results: {title}",
        answer=answer,
        made_by=tuple(dict.fromkeys(made_by)),
        sources=_sources(sources),
        runs_given=sum(run.row.verdict not in NOT_ENDED for run in runs),
        first_run_at=min(run.row.started_at for run in runs),
        last_run_at=last.row.started_at,
        slo_p95_ms=slo_ms,
        rows=rows,
        chosen=chosen,
        baseline=base,
        summary=summarise(rows, here, base, coalescing, slo_ms),
        findings=findings_of(rows, here, coalescing, answer.rows),
        throughput=_comparisons(here, base),
        coalescing=coalescing,
        trades=_trades(here),
        capabilities=tuple(matrix),
        recommendations=recommend(rows, here, slo_ms),
        environment=facts,
        mixed=mixed,
        invalid=tuple(row for row in rows if not row.is_valid),
    )


def _machine(facts: Mapping[str, Any]) -> str:
    """`AMD EPYC, 2 cores`, with the GPU before it if there is one."""
    machine = str(facts.get("cpu_model") or "an unknown machine")
    if cores := facts.get("cores"):
        machine += f", {cores} core{'s' if cores != 1 else ''}"
    gpu = facts.get("gpu.model")
    return f"{gpu}, {machine}" if gpu else machine


def _mixed(runs: Sequence[StoredRun]) -> tuple[str, ...]:
    facts = differing([environment_facts(run.environment) for run in runs if run.environment])
    return tuple(f"{name} ({len(set(map(str, values)))} values)" for name, values in facts.items())


def _sources(names: Sequence[str]) -> tuple[str, ...]:
    return (
        tuple(names) if len(names) <= _MOST_SOURCES else (*names[:_MOST_SOURCES], f"{len(names) - _MOST_SOURCES} more")
    )


def _chosen(rows: Sequence[ReportRow], at: tuple[int, int] | None) -> str:
    """Returns the name of the load at which most deployments were measured.

    Ties prefer a rate whose SLO was met (a missed one says little about a deployment), then a load with coalescing,
    then the larger load. `at` restricts the choice to closed loops of that batch size and concurrency; raises
    NothingToReport if nothing was measured there.
    """
    measured = [row for row in rows if row.texts_per_s]
    if at is not None:
        asked = [row for row in measured if (row.load.batch, row.load.concurrency) == at and not row.load.rate]
        if not asked:
            known = ", ".join(
                dict.fromkeys(f"{c.load.batch}x{c.load.concurrency}" for c in measured if not c.load.rate)
            )
            raise NothingToReport(f"nothing was measured at {at[0]}x{at[1]}: --at takes one of {known}")
        measured = asked
    names = Counter(row.load.name for row in measured)
    size = {row.load.name: row.load.batch * (row.load.rate or row.load.concurrency) for row in measured}
    plain = {row.load.name: row.load.coalesce for row in measured}
    carried = {row.load.name: not (row.load.rate and row.slo_missed) for row in measured}
    return max(names, key=lambda name: (names[name], carried[name], plain[name], size[name]))


def _baseline(here: Sequence[ReportRow], asked: str) -> ReportRow | None:
    if asked:
        matches = [row for row in here if asked in (row.name, row.effective.cell, row.name.replace("·", " "))]
        if not matches:
            names = ", ".join(row.name for row in here)
            raise NothingToReport(f"no deployment {asked!r} at the chosen load: --baseline takes one of {names}")
        return matches[0]
    for backend, precision in _BASELINES if len(here) > 1 else ():
        for row in here:
            if (row.effective.backend, row.effective.precision) == (backend, precision) and not row.fell_back:
                return row
    return here[0] if len(here) > 1 else None


def _comparisons(here: Sequence[ReportRow], base: ReportRow | None) -> tuple[BaselineComparison, ...]:
    ordered = sorted(here, key=lambda row: -(row.texts_per_s or 0.0))
    return tuple(
        BaselineComparison(row, row.over(base) if base and row is not base else None, row is base) for row in ordered
    )


def _coalescing(rows: Sequence[ReportRow]) -> tuple[Coalescing, ...]:
    def key(row: ReportRow) -> tuple[Any, ...]:
        load = row.load
        return (row.name, load.batch, load.concurrency, load.rate, load.workload, load.corpus, load.stream)

    on = {key(row): row for row in rows if row.load.coalesce and row.texts_per_s}
    pairs = [(row, on[key(row)]) for row in rows if not row.load.coalesce and row.texts_per_s and key(row) in on]
    pairs.sort(key=lambda pair: (pair[0].name, pair[0].load.batch, pair[0].load.concurrency))
    return tuple(Coalescing(off, with_it, with_it.over(off)) for off, with_it in pairs)


def _trades(here: Sequence[ReportRow]) -> tuple[TradeOff, ...]:
    known = [row for row in here if row.fidelity is not None]

    def dominated(row: ReportRow) -> bool:
        speed, close = row.texts_per_s or 0.0, row.fidelity or 0.0
        return any(
            other is not row and (other.texts_per_s or 0.0) >= speed and (other.fidelity or 0.0) >= close
            and ((other.texts_per_s or 0.0) > speed or (other.fidelity or 0.0) > close)
            for other in known
        )  # fmt: skip

    ordered = sorted(known, key=lambda row: -(row.texts_per_s or 0.0))
    return tuple(TradeOff(row, not dominated(row)) for row in ordered)
