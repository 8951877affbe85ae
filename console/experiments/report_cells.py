"""Stored runs as the cells of a report: runs of the same deployment and load are one cell, judged together. Pure."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from console.experiments.bottleneck import Bottleneck
from console.experiments.compare import block_rates, has_rate, load_key, steady_intervals
from console.experiments.history import cell_name, load_name
from console.experiments.ratios import Ratio, unpaired_ratio
from console.experiments.statistics import mean_margin, percentiles
from console.experiments.store_read import UNFINISHED, StoredRun
from console.frame import Deployment, Percentiles

STAGES = ("queue", "tokenize", "infer", "serialize")
_WORST_FIRST = ("failed", "client_bound", "unstable", "ok")
LEAST_REPEATS = 3
"""From here on a cell's repeats are the unit of its interval; below it, its blocks of seconds are."""
GREEN = (0.995, 0.92)
AMBER = (0.98, 0.85)
"""Mean cosine and overlap@10 from which a grade is given."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was sent."""

    name: str
    batch: int
    concurrency: int
    rate: float | None
    workload: str
    corpus: str
    stream: bool
    coalesce: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One deployment under one load. None where a figure cannot be stated."""

    name: str
    """What ran, and what was asked for where that differs."""
    requested: Deployment
    effective: Deployment
    load: Load
    runs: tuple[str, ...]
    verdict: str
    """The worst of its runs."""
    reason: str
    """Why it is not ok."""
    texts_per_s: float | None
    low: float | None
    high: float | None
    speeds: tuple[float, ...]
    """texts/s of its repeats, or of the blocks of its only run: what ratios are made of."""
    latency: Percentiles
    p95_stable: bool | None
    fidelity: float | None
    overlap_at_10: float | None
    grade: str
    """green, amber, red, or empty where fidelity is not known."""
    rss_bytes: int | None
    errors: int
    slo_p95_ms: float | None
    slo_missed: bool
    stages_ms: Mapping[str, float]
    """Means of a request; empty where nothing was measured."""
    bottleneck: Bottleneck | None
    padding_ratio: float | None
    mean_batch_items: float | None
    engine_cpu: float | None
    client_cpu: float | None
    warnings: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return self.verdict == "ok"

    @property
    def fell_back(self) -> bool:
        asked, ran = self.requested, self.effective
        return bool(asked.cell) and (asked.backend, asked.precision) != (ran.backend, ran.precision)

    @property
    def trusted(self) -> bool:
        """Good enough to be recommended: its vectors are, or nobody has measured them."""
        return self.grade != "red"

    def over(self, base: "Cell") -> Ratio | None:
        """Its throughput over that of another cell."""
        return unpaired_ratio(self.speeds, base.speeds)

    @property
    def command(self) -> str:
        """Measures it again."""
        load = self.load
        shape = ["--rate", f"{load.rate:g}"] if load.rate else ["--concurrency", str(load.concurrency)]
        return shlex.join([
            "embedconsole", "run", *deployment_flags(self.requested), "--batch", str(load.batch), *shape,
            *([] if load.workload == "texts" else ["--workload", load.workload]),
            *([] if load.corpus == "short" else ["--corpus", load.corpus]),
            *(["--stream"] if load.stream else []), *([] if load.coalesce else ["--coalesce", "off"]),
            "--duration", "auto", "--json",
        ])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Coalescing:
    """The same deployment and load, one request a batch against several."""

    off: Cell
    on: Cell
    ratio: Ratio | None


def deployment_flags(asked: Deployment) -> list[str]:
    """`--backend onnx --precision int8 …`, as `run` and `serve` take them."""
    pairs = {
        "backend": asked.backend,
        "precision": asked.precision,
        "recipe": asked.recipe if asked.recipe != "plain" else "",
    }
    return [word for name, value in pairs.items() if value for word in (f"--{name}", value)]


def cells_of(runs: Sequence[StoredRun]) -> tuple[Cell, ...]:
    """In the order in which they were first measured; runs without an end are left out."""
    ended = [run for run in runs if run.row.verdict != UNFINISHED]
    shapes: dict[str, set[tuple[int, int]]] = {}
    for run in ended:
        live = run.row.effective
        shapes.setdefault(cell_name(run.row.requested, live), set()).add((live.instances, live.threads))
    groups: dict[tuple[Any, ...], list[StoredRun]] = {}
    for run in ended:
        live = run.row.effective
        name = cell_name(run.row.requested, live)
        if len(shapes[name]) > 1:
            name += f" {live.instances}×{live.threads}"
        groups.setdefault((name, *load_key(run.row)), []).append(run)
    cells = [_cell(key[0], _whole(group)) for key, group in groups.items()]
    return tuple(_with_fidelity(cells))


def _whole(runs: Sequence[StoredRun]) -> Sequence[StoredRun]:
    """Without those that were interrupted, where there are others."""
    return [run for run in runs if not run.row.interrupted] or runs


def _cell(name: str, runs: Sequence[StoredRun]) -> Cell:
    """Figures are of the runs that did not fail; of the last one where they are no matter of statistics."""
    measured = [run for run in runs if has_rate(run)]
    last = (measured or list(runs))[-1]
    report, row = last.report or {}, last.row
    verdict = next(one for one in _WORST_FIRST if any(run.row.verdict == one for run in runs))
    texts_per_s, low, high, speeds = _throughput(measured)
    fidelity, server, client = report.get("fidelity") or {}, report.get("server") or {}, report.get("client") or {}
    stages = {stage: value for stage in STAGES if (value := (server.get("stages_ms") or {}).get(stage)) is not None}
    limit = report.get("bottleneck")
    return Cell(
        name=name,
        requested=row.requested,
        effective=row.effective,
        load=Load(load_name(row), row.batch, row.concurrency, row.rate or None, row.workload, row.corpus,
                  bool(row.stream), bool(row.coalesce)),
        runs=tuple(run.row.run_id for run in runs),
        verdict=verdict,
        reason=next((_reason(run) for run in runs if run.row.verdict == verdict), ""),
        texts_per_s=texts_per_s, low=low, high=high, speeds=speeds,
        latency=_latency(measured),
        p95_stable=all(run.row.p95_stable for run in measured) if measured else None,
        fidelity=row.fidelity,
        overlap_at_10=fidelity.get("overlap_at_10"),
        grade=fidelity.get("grade") or _grade(row.fidelity, fidelity.get("overlap_at_10")),
        rss_bytes=row.rss_bytes or None,
        errors=sum(run.row.errors for run in runs),
        slo_p95_ms=last.spec.get("slo_p95_ms"),
        slo_missed=any(bool(run.row.slo_missed) for run in measured),
        stages_ms=stages,
        bottleneck=Bottleneck(**limit) if limit else None,
        padding_ratio=server.get("padding_ratio"),
        mean_batch_items=server.get("mean_batch_items"),
        engine_cpu=server.get("cpu"),
        client_cpu=client.get("cpu"),
        warnings=tuple(notice["message"] for notice in report.get("warnings", ())),
    )  # fmt: skip


def _throughput(runs: Sequence[StoredRun]) -> tuple[float | None, float | None, float | None, tuple[float, ...]]:
    """Of one run its own interval; else the t-interval of what ratios are made of: repeats, or blocks of two runs."""
    if not runs:
        return None, None, None, ()
    if len(runs) == 1:
        row = runs[0].row
        return row.texts_per_s, row.texts_per_s_low, row.texts_per_s_high, tuple(block_rates(runs[0]))
    speeds = [run.row.texts_per_s for run in runs if run.row.texts_per_s is not None]
    units = speeds if len(speeds) >= LEAST_REPEATS else [rate for run in runs for rate in block_rates(run)]
    mean, margin = fmean(speeds), mean_margin(units) or 0.0
    return mean, max(mean - margin, 0.0), mean + margin, tuple(units)


def _latency(runs: Sequence[StoredRun]) -> Percentiles:
    """From the merged histograms of all runs; of runs whose intervals are not kept, what the row says."""
    answers = [interval.answers for run in runs for interval in steady_intervals(run)]
    found = percentiles(answers, certified=True) if len(runs) > 1 else Percentiles()
    if found.n or not runs:
        return found
    row, latency = runs[-1].row, (runs[-1].report or {}).get("latency_ms") or {}
    return Percentiles(
        row.latency_n, latency.get("mean"), row.p50_ms, latency.get("p90"), row.p95_ms, row.p99_ms, latency.get("max")
    )


def _reason(run: StoredRun) -> str:
    if run.row.failure:
        return run.row.failure
    if not has_rate(run):
        return f"{run.row.latency_n} answers are too few for a rate: measure longer"
    verdicts = (run.report or {}).get("verdicts") or {}
    if run.row.verdict == "client_bound":
        return (
            f"the load driver used {(run.report or {}).get('client', {}).get('cpu', 0):.0%} of a core: it was the limit"
        )
    for name in ("throughput", "requests_in_flight", "p95"):
        judged = verdicts.get(name) or {}
        if judged.get("stable", judged.get("holds")) is False and run.row.verdict != "ok":
            return f"{name.replace('_', ' ')}: {judged.get('reason')}"
    return ""


def _grade(cosine: float | None, overlap: float | None) -> str:
    """By the cosine alone where the overlap is not known."""
    if cosine is None:
        return ""
    for grade, (least_cosine, least_overlap) in (("green", GREEN), ("amber", AMBER)):
        if cosine >= least_cosine and (overlap is None or overlap >= least_overlap):
            return grade
    return "red"


def _with_fidelity(cells: Sequence[Cell]) -> list[Cell]:
    """A deployment's fidelity does not depend on the load: cells that lack it take it from those that know it."""
    known = {cell.effective: cell for cell in cells if cell.fidelity is not None}
    return [
        replace(cell, fidelity=other.fidelity, overlap_at_10=other.overlap_at_10, grade=other.grade)
        if cell.fidelity is None and (other := known.get(cell.effective)) is not None
        else cell
        for cell in cells
    ]
