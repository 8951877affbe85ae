"""Stored runs as the cells of a report: runs of the same deployment and load are one cell, judged together. Pure."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from console.analysis.bottleneck import Bottleneck
from console.analysis.ratios import Ratio, unpaired_ratio
from console.analysis.steady_state import mean_margin, percentiles
from console.compare.run_ratios import block_rates, has_rate, steady_intervals
from console.compare.stored import load_key
from console.model.engine import Deployment
from console.model.load import Percentiles
from console.output.runs import client_bound_reason
from console.store.labels import cell_name, load_name
from console.store.read import UNFINISHED, StoredRun

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
    """0 in an open loop."""
    rate: float | None
    arrival: str
    """Of an open loop; empty in a closed one."""
    workload: str
    corpus: str
    stream: bool
    coalesce: bool

    @property
    def flags(self) -> list[str]:
        """`--batch 32 --concurrency 4 …`, as every command that sends a load takes them."""
        return [
            "--batch", str(self.batch),
            *(["--rate", f"{self.rate:g}"] if self.rate else ["--concurrency", str(self.concurrency)]),
            *(["--arrival", self.arrival] if self.arrival not in ("", "poisson") else []),
            *(["--workload", self.workload] if self.workload != "texts" else []),
            *(["--corpus", self.corpus] if self.corpus != "short" else []),
            *(["--stream"] if self.stream else []),
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One deployment under one load. None where a figure cannot be stated."""

    name: str
    """What ran, what was asked for where that differs, and what else tells it from others of this report."""
    requested: Deployment
    effective: Deployment
    load: Load
    runs: tuple[str, ...]
    verdict: str
    """The worst of its runs."""
    reason: str
    """Why it is not ok."""
    rate_steady: bool
    """Throughput was steady and Little's law held, whatever p95 did."""
    duration_needed_s: int | None
    """What would do where it was too short to be judged."""
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
    stages_ms: Mapping[str, float]
    """Means of a request; empty where nothing was measured."""
    bottleneck: Bottleneck | None
    padding_ratio: float | None
    mean_batch_items: float | None
    engine_cpu: float | None
    client_cpu: float | None
    warnings: tuple[str, ...]

    @property
    def is_valid(self) -> bool:
        return self.verdict == "ok"

    @property
    def is_rate_valid(self) -> bool:
        """Each figure has its own verdict: a p95 that was not steady leaves a steady throughput what it is."""
        return self.is_valid or (self.verdict == "unstable" and self.rate_steady)

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
    def slo_missed(self) -> bool:
        p95_ms, slo_ms = self.latency.p95_ms, self.slo_p95_ms
        return slo_ms is not None and p95_ms is not None and p95_ms > slo_ms

    @property
    def slo_open(self) -> bool:
        """There is an SLO, and too few requests to hold it against a p95."""
        return self.slo_p95_ms is not None and self.latency.p95_ms is None

    @property
    def command(self) -> str:
        """Measures it again."""
        return shlex.join([
            "embedconsole", "run", *deployment_flags(self.requested), *self.load.flags,
            *([] if self.load.coalesce else ["--coalesce", "off"]), "--duration", "auto", "--json",
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
    """In the order in which they were first measured; runs without an end are left out, and what was done again."""
    ended = _without_superseded([run for run in runs if run.row.verdict != UNFINISHED])
    names = _names(ended)
    groups: dict[tuple[Any, ...], list[StoredRun]] = {}
    for run, name in zip(ended, names, strict=True):
        groups.setdefault((name, *load_key(run.row), _arrival(run)), []).append(run)
    cells = [_cell(key[0], _complete(group)) for key, group in groups.items()]
    return tuple(_with_fidelity(cells))


def _arrival(run: StoredRun) -> str:
    return str(run.spec.get("load", {}).get("arrival", "")) if run.row.rate else ""


def _machine(run: StoredRun) -> str:
    gpu = (run.environment.get("gpu") or {}).get("model")
    return str(gpu or run.environment.get("cpu_model") or "")


_FACETS: tuple[Callable[[StoredRun], str], ...] = (
    lambda run: f"{run.row.effective.instances}×{run.row.effective.threads}",
    lambda run: f"{run.row.max_batch_tokens or 0:,} tokens",
    lambda run: f"wait {run.row.max_wait_ms or 0:g} ms",
    lambda run: run.row.model.rsplit("/", 1)[-1],
    _machine,
)
"""What makes another cell of the same backend and precision: told in its name where a report holds several."""


def _names(runs: Sequence[StoredRun]) -> list[str]:
    """One for each run: the cell's, and every facet in which runs of that cell differ. What failed has no facets."""
    plain = [cell_name(run.row.requested, run.row.effective) for run in runs]
    facets = [[facet(run) if run.row.verdict != "failed" else "" for facet in _FACETS] for run in runs]
    seen: dict[tuple[str, int], set[str]] = {}
    for name, found in zip(plain, facets, strict=True):
        for place, facet in enumerate(found):
            if facet:
                seen.setdefault((name, place), set()).add(facet)
    return [
        " ".join(
            [name, *(facet for place, facet in enumerate(found) if len(seen.get((name, place), ())) > 1 and facet)]
        )
        for name, found in zip(plain, facets, strict=True)
    ]


def _without_superseded(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """Without failed and interrupted runs of a sweep's cell that a later part of the sweep has measured whole."""
    again = {_place(run): run.row.started_at for run in runs if run.row.cell_hash and not _void(run)}
    return [run for run in runs if not _void(run) or again.get(_place(run), "") <= run.row.started_at]


def _complete(runs: Sequence[StoredRun]) -> Sequence[StoredRun]:
    """Without those that were interrupted, where there are others."""
    return [run for run in runs if not run.row.interrupted] or runs


def _place(run: StoredRun) -> tuple[str, str]:
    """A cell of a sweep, which is measured once more when the sweep is resumed."""
    return run.row.sweep_id, run.row.cell_hash


def _void(run: StoredRun) -> bool:
    return run.row.verdict == "failed" or bool(run.row.interrupted)


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
        load=_load(last),
        runs=tuple(run.row.run_id for run in runs),
        verdict=verdict,
        reason=next((_reason(run) for run in runs if run.row.verdict == verdict), ""),
        rate_steady=bool(measured) and all(_rate_steady(run) for run in measured),
        duration_needed_s=(report.get("verdicts") or {}).get("duration_needed_s"),
        texts_per_s=texts_per_s, low=low, high=high, speeds=speeds,
        latency=_latency(measured),
        p95_stable=all(run.row.p95_stable for run in measured) if measured else None,
        fidelity=row.fidelity,
        overlap_at_10=fidelity.get("overlap_at_10"),
        grade=fidelity.get("grade") or _grade(row.fidelity, fidelity.get("overlap_at_10")),
        rss_bytes=row.rss_bytes or None,
        errors=sum(run.row.errors for run in runs),
        slo_p95_ms=last.spec.get("slo_p95_ms"),
        stages_ms=stages,
        bottleneck=Bottleneck(**limit) if limit else None,
        padding_ratio=server.get("padding_ratio"),
        mean_batch_items=server.get("mean_batch_items"),
        engine_cpu=server.get("cpu"),
        client_cpu=client.get("cpu"),
        warnings=tuple(notice["message"] for notice in report.get("warnings", ())),
    )  # fmt: skip


def _rate_steady(run: StoredRun) -> bool:
    little = ((run.report or {}).get("verdicts") or {}).get("requests_in_flight") or {}
    return bool(run.row.throughput_stable) and little.get("holds") is not False


def _load(run: StoredRun) -> Load:
    row, arrival = run.row, _arrival(run)
    name = ("batch " if row.rate else "") + load_name(row) + (f", {arrival}" if arrival not in ("", "poisson") else "")
    return Load(
        name, row.batch, 0 if row.rate else row.concurrency, row.rate or None, arrival, row.workload, row.corpus,
        bool(row.stream), bool(row.coalesce),
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
        return client_bound_reason((run.report or {}).get("client") or {})
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
    """A deployment's fidelity depends neither on the load nor on its threads: all its cells take the fullest figures.

    A run knows what was last seen when the deployment was loaded, a sweep may have measured it on a whole corpus.
    """
    known: dict[Deployment, Cell] = {}
    for cell in cells:
        if cell.fidelity is not None:
            best = known.setdefault(_what_ran(cell), cell)
            if best.overlap_at_10 is None and cell.overlap_at_10 is not None:
                known[_what_ran(cell)] = cell
    return [
        replace(cell, fidelity=found.fidelity, overlap_at_10=found.overlap_at_10, grade=found.grade)
        if (found := known.get(_what_ran(cell))) is not None
        else cell
        for cell in cells
    ]


def _what_ran(cell: Cell) -> Deployment:
    return replace(cell.effective, instances=0, threads=0)
