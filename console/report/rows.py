"""The rows of a report: stored runs of one deployment at one load, merged and judged together. Pure functions."""

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
from console.model.engine import PLAIN, Deployment
from console.model.load import Percentiles
from console.model.verdicts import NOT_ENDED, NOT_STEADY, WORST_FIRST
from console.output.runs import client_bound_reason
from console.report.fidelity import grade_of
from console.report.memory import measured_in_shared_process, shared_process_runs
from console.store.labels import cell_name, load_name
from console.store.read import RunRow, StoredRun

STAGES = ("queue", "tokenize", "infer", "serialize")
LEAST_REPEATS = 3
"""Repeats from which the interval is computed over repeats; with fewer it is computed over blocks of seconds."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of a row, as it was sent."""

    name: str
    batch: int
    concurrency: int
    """0 in an open loop."""
    rate: float | None
    arrival: str
    """Arrival process of an open loop; empty in a closed loop."""
    workload: str
    corpus: str
    stream: bool
    coalesce: bool

    @property
    def title(self) -> str:
        """`batch 32, 4 in flight` or `batch 1, 50 requests/s`, then every setting that is not the default."""
        pace = f"{self.rate:g} requests/s" if self.rate else f"{self.concurrency} in flight"
        return ", ".join(part for part in (f"batch {self.batch}", pace, self.settings) if part)

    @property
    def settings(self) -> str:
        """`corpus mixed, no coalescing`: every setting that is not the default; empty if there is none."""
        unusual = (
            f"{self.arrival} arrivals" if self.arrival not in ("", "poisson") else "",
            self.workload if self.workload != "texts" else "",
            f"corpus {self.corpus}" if self.corpus != "short" else "",
            "stream" if self.stream else "",
            "" if self.coalesce else "no coalescing",
        )
        return ", ".join(part for part in unusual if part)

    @property
    def flags(self) -> list[str]:
        """`--batch 32 --concurrency 4 …`: the options of every command that sends a load."""
        return [
            "--batch", str(self.batch),
            *(["--rate", f"{self.rate:g}"] if self.rate else ["--concurrency", str(self.concurrency)]),
            *(["--arrival", self.arrival] if self.arrival not in ("", "poisson") else []),
            *(["--workload", self.workload] if self.workload != "texts" else []),
            *(["--corpus", self.corpus] if self.corpus != "short" else []),
            *(["--stream"] if self.stream else []),
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One deployment at one load. A figure that cannot be stated is None."""

    name: str
    """`onnx·int8`; `requested → effective` after a fallback; then each facet that distinguishes it in this report."""
    requested: Deployment
    effective: Deployment
    load: Load
    runs: tuple[str, ...]
    verdict: str
    """The worst verdict of its runs."""
    reason: str
    """Why the verdict is not ok."""
    rate_steady: bool
    """Throughput was steady and Little's law held; says nothing about p95."""
    duration_needed_s: int | None
    """Duration that the verdict needs; None unless the run was too short."""
    texts_per_s: float | None
    low: float | None
    high: float | None
    speeds: tuple[float, ...]
    """texts/s of each repeat, or of each block of seconds: the samples that ratios are computed from."""
    latency: Percentiles
    p95_stable: bool | None
    fidelity: float | None
    overlap_at_10: float | None
    grade: str
    """green, amber or red; empty if fidelity is unknown."""
    rss_bytes: int | None
    rss_shared_process: bool
    """Whether its engine process had served another deployment before, which `rss_bytes` then includes."""
    errors: int
    slo_p95_ms: float | None
    stages_ms: Mapping[str, float]
    """Mean time of a request in each stage; empty if not measured."""
    bottleneck: Bottleneck | None
    padding_ratio: float | None
    mean_batch_items: float | None
    engine_cpu: float | None
    client_cpu: float | None
    warnings: tuple[str, ...]

    @property
    def title(self) -> str:
        """`ONNX Runtime, int8 (smoothed)`, with the facets of `name`."""
        facets = self.name.removeprefix(cell_name(self.requested, self.effective)).strip()
        ran = deployment_title(self.effective if self.effective.cell else self.requested)
        asked = f"{deployment_title(self.requested)} → " if self.fell_back and self.effective.cell else ""
        return f"{asked}{ran}" + (f", {facets}" if facets else "")

    @property
    def is_valid(self) -> bool:
        return self.verdict == "ok"

    @property
    def is_rate_valid(self) -> bool:
        """Whether its throughput is valid. An unsteady p95 does not invalidate a steady throughput."""
        return self.is_valid or (self.verdict in NOT_STEADY and self.rate_steady)

    @property
    def fell_back(self) -> bool:
        asked, ran = self.requested, self.effective
        return bool(asked.cell) and (asked.backend, asked.precision) != (ran.backend, ran.precision)

    @property
    def may_be_recommended(self) -> bool:
        """Its fidelity is not red; unknown fidelity counts as acceptable."""
        return self.grade != "red"

    def over(self, base: "ReportRow") -> Ratio | None:
        """The ratio of its throughput to that of `base`; None if either has no samples."""
        return unpaired_ratio(self.speeds, base.speeds)

    @property
    def slo_missed(self) -> bool:
        p95_ms, slo_ms = self.latency.p95_ms, self.slo_p95_ms
        return slo_ms is not None and p95_ms is not None and p95_ms > slo_ms

    @property
    def slo_unknown(self) -> bool:
        """There is an SLO, and too few requests for a p95 to compare with it."""
        return self.slo_p95_ms is not None and self.latency.p95_ms is None

    @property
    def command(self) -> str:
        """The command that measures this row again."""
        return shlex.join([
            "embedconsole", "run", *deployment_flags(self.requested), *self.load.flags,
            *([] if self.load.coalesce else ["--coalesce", "off"]), "--duration", "auto", "--json",
        ])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Coalescing:
    """The same deployment and load without and with coalescing. `ratio` is on / off."""

    off: ReportRow
    on: ReportRow
    ratio: Ratio | None


_BACKENDS = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch"}


def backend_title(backend: str) -> str:
    """`ONNX Runtime` for `onnx`; a name that is not known as it is."""
    return _BACKENDS.get(backend, backend)


def deployment_title(deployment: Deployment) -> str:
    """`ONNX Runtime, int8 (smoothed)`; the recipe `plain` is not named, and empty parts are left out."""
    backend = backend_title(deployment.backend)
    recipe = f" ({deployment.recipe})" if deployment.recipe not in ("", PLAIN) else ""
    return ", ".join(part for part in (backend, deployment.precision) if part) + recipe


def deployment_flags(asked: Deployment) -> list[str]:
    """`--backend onnx --precision int8 …`: options of `embedconsole run` and `engine serve`."""
    pairs = {
        "backend": asked.backend,
        "precision": asked.precision,
        "recipe": asked.recipe if asked.recipe != PLAIN else "",
    }
    return [word for name, value in pairs.items() if value for word in (f"--{name}", value)]


def rows_of(runs: Sequence[StoredRun], swept: Sequence[RunRow] = ()) -> tuple[ReportRow, ...]:
    """Returns the rows in the order of their first run. Leaves out unfinished and superseded runs.

    `swept` holds all runs of the sweeps that `runs` are of, if `runs` are not all of them.
    """
    ended = _without_superseded([run for run in runs if run.row.verdict not in NOT_ENDED])
    names = _names(ended)
    groups: dict[tuple[Any, ...], list[StoredRun]] = {}
    for run, name in zip(ended, names, strict=True):
        groups.setdefault((name, *load_key(run.row), _arrival(run)), []).append(run)
    shared = shared_process_runs([*swept, *(run.row for run in runs)])
    rows = [_report_row(key[0], _complete(group), shared) for key, group in groups.items()]
    return tuple(_with_fidelity(rows))


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
"""Facets that split runs of one backend and precision into several rows; `name` shows those that differ."""


def _names(runs: Sequence[StoredRun]) -> list[str]:
    """Returns the name of each run's row: what ran, and the facets in which such runs differ. Failed runs have none."""
    plain = [cell_name(run.row.requested, run.row.effective) for run in runs]
    facets = [[facet(run) if run.row.verdict != "failed" else "" for facet in _FACETS] for run in runs]
    values: dict[tuple[str, int], set[str]] = {}
    for name, of_run in zip(plain, facets, strict=True):
        for index, facet in enumerate(of_run):
            if facet:
                values.setdefault((name, index), set()).add(facet)
    return [
        " ".join(
            [name, *(facet for index, facet in enumerate(of_run) if facet and len(values.get((name, index), ())) > 1)]
        )
        for name, of_run in zip(plain, facets, strict=True)
    ]


def _without_superseded(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """Drops failed and interrupted runs of a sweep's cell that a later, complete run of that cell replaces."""
    again = {_sweep_cell(run): run.row.started_at for run in runs if run.row.cell_hash and not _incomplete(run)}
    return [run for run in runs if not _incomplete(run) or again.get(_sweep_cell(run), "") <= run.row.started_at]


def _complete(runs: Sequence[StoredRun]) -> Sequence[StoredRun]:
    """Drops interrupted runs, unless all are interrupted."""
    return [run for run in runs if not run.row.interrupted] or runs


def _sweep_cell(run: StoredRun) -> tuple[str, str]:
    """The sweep's cell that the run measured; a resumed sweep may measure it again."""
    return run.row.sweep_id, run.row.cell_hash


def _incomplete(run: StoredRun) -> bool:
    return run.row.verdict == "failed" or bool(run.row.interrupted)


def _report_row(name: str, runs: Sequence[StoredRun], shared: frozenset[str]) -> ReportRow:
    """Merges runs into one row: statistics over the runs that have a rate, other figures from the last of them."""
    measured = [run for run in runs if has_rate(run)]
    last = (measured or list(runs))[-1]
    report, row = last.report or {}, last.row
    verdict = next(one for one in WORST_FIRST if any(run.row.verdict == one for run in runs))
    texts_per_s, low, high, speeds = _throughput(measured)
    fidelity, server, client = report.get("fidelity") or {}, report.get("server") or {}, report.get("client") or {}
    stages = {stage: value for stage in STAGES if (value := (server.get("stages_ms") or {}).get(stage)) is not None}
    limit = report.get("bottleneck")
    return ReportRow(
        name=name,
        requested=row.requested,
        effective=row.effective,
        load=load_of(last),
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
        grade=fidelity.get("grade") or grade_of(row.fidelity, fidelity.get("overlap_at_10")),
        rss_bytes=row.rss_bytes or None,
        rss_shared_process=measured_in_shared_process(row.run_id, report, shared),
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


def load_of(run: StoredRun) -> Load:
    """Returns the load of a stored run, as it was sent."""
    row, arrival = run.row, _arrival(run)
    name = ("batch " if row.rate else "") + load_name(row) + (f", {arrival}" if arrival not in ("", "poisson") else "")
    return Load(
        name, row.batch, 0 if row.rate else row.concurrency, row.rate or None, arrival, row.workload, row.corpus,
        bool(row.stream), bool(row.coalesce),
    )  # fmt: skip


def _throughput(runs: Sequence[StoredRun]) -> tuple[float | None, float | None, float | None, tuple[float, ...]]:
    """Returns mean texts/s, its 95 % interval, and the samples of ratios.

    A single run keeps its own interval. Several runs get a t-interval over repeats, or over blocks of seconds if
    there are fewer than LEAST_REPEATS.
    """
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
    """Returns percentiles of the merged histograms; of a single run, or without intervals, those of its stored row."""
    answers = [interval.answers for run in runs for interval in steady_intervals(run)]
    merged = percentiles(answers, certified=True) if len(runs) > 1 else Percentiles()
    if merged.n or not runs:
        return merged
    row, latency = runs[-1].row, (runs[-1].report or {}).get("latency_ms") or {}
    return Percentiles(
        row.latency_n, latency.get("mean"), row.p50_ms, latency.get("p90"), row.p95_ms, row.p99_ms, latency.get("max")
    )


def _reason(run: StoredRun) -> str:
    if run.row.failure:
        return run.row.failure
    if not has_rate(run):
        return f"{run.row.latency_n} responses are too few for a rate: measure longer"
    verdicts = (run.report or {}).get("verdicts") or {}
    if run.row.verdict == "client_bound":
        return client_bound_reason((run.report or {}).get("client") or {})
    for name in ("errors", "throughput", "requests_in_flight", "p95"):
        judged = verdicts.get(name) or {}
        if judged.get("stable", judged.get("holds")) is False and run.row.verdict != "ok":
            return f"{name.replace('_', ' ')}: {judged.get('reason')}"
    return ""


def _with_fidelity(rows: Sequence[ReportRow]) -> list[ReportRow]:
    """Gives all rows of a deployment the same fidelity figures, those with an overlap@10 if there are any.

    Fidelity depends neither on the load nor on the threads. A run stores the figures of the last load of the
    deployment; a sweep may have measured a whole corpus.
    """
    known: dict[Deployment, ReportRow] = {}
    for row in rows:
        if row.fidelity is not None:
            best = known.setdefault(_what_ran(row), row)
            if best.overlap_at_10 is None and row.overlap_at_10 is not None:
                known[_what_ran(row)] = row
    return [
        replace(row, fidelity=source.fidelity, overlap_at_10=source.overlap_at_10, grade=source.grade)
        if (source := known.get(_what_ran(row))) is not None
        else row
        for row in rows
    ]


def _what_ran(row: ReportRow) -> Deployment:
    return replace(row.effective, instances=0, threads=0)
