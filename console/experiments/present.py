"""A measurement as one JSON object for programs, and as a few lines for people."""

from dataclasses import asdict
from typing import Any

from console.experiments.environment import environment
from console.experiments.run import Measurement, Verdict
from console.frame import P95_FLOOR, P99_FLOOR, Deployment, Percentiles

SCHEMA_VERSION = 1


def as_json(measurement: Measurement) -> dict[str, Any]:
    """The object of `run --json`. Figures that cannot be stated are null; units are in the names."""
    engine, load, found = measurement.engine, measurement.spec.load, measurement.rates
    batches, stages = measurement.batches, measurement.stages
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": measurement.run_id,
        "requested": asdict(engine.requested),
        "effective": asdict(engine.effective),
        "warnings": [asdict(notice) for notice in engine.warnings],
        "workload": _workload(measurement),
        "verdict": str(measurement.verdict),
        "verdicts": {
            "throughput": _judged(measurement, "throughput"),
            "p95": _judged(measurement, "p95"),
            "slo_p95_ms": measurement.spec.slo_p95_ms,
            "slo_missed": measurement.slo_missed,
        },
        "failure": measurement.failure or None,
        "interrupted": measurement.interrupted,
        "duration_s": round(measurement.duration_s, 3),
        "warm_up_s": measurement.spec.warm_up_s,
        "throughput": {
            "texts_per_s": _rounded(found.texts_per_s if found else None),
            "pairs_per_s": _rounded(found.pairs_per_s) if found and load.workload == "pairs" else None,
            "requests_per_s": _rounded(found.requests_per_s if found else None),
            "ci_low": _rounded(found.low if found else None),
            "ci_high": _rounded(found.high if found else None),
        },
        "latency_ms": _latency(measurement.latency),
        "server": {
            "mean_batch_items": _rounded(batches.mean_items),
            "mean_batch_tokens": _rounded(batches.mean_tokens),
            "padding_ratio": _rounded(batches.padding_ratio, 4),
            "rss_bytes": measurement.rss_bytes,
            "stages_ms": {
                name: _rounded(getattr(stages, f"{name}_ms") if stages else None, 4)
                for name in ("queue", "tokenize", "infer", "serialize")
            },
        },
        "client": {
            "cpu": round(measurement.client_cpu_cores, 3),
            "saturated": measurement.saturated,
            "retries": measurement.retries,
            "truncated_texts": measurement.truncated_texts,
        },
        "errors": measurement.errors,
        "fidelity": None if measurement.fidelity is None else {"cosine_mean": round(measurement.fidelity, 6)},
        "environment": environment(engine),
    }


def _workload(measurement: Measurement) -> dict[str, Any]:
    load = measurement.spec.load
    return {
        "batch": load.batch,
        "concurrency": load.concurrency,
        "rate": None,
        "workload": load.workload,
        "corpus": load.corpus,
        "stream": load.stream,
        "seed": load.seed,
        "loop": "closed",
        "coalesce": measurement.engine.batching.coalesce,
    }


def _judged(measurement: Measurement, figure: str) -> dict[str, Any]:
    judgement = measurement.throughput_judgement if figure == "throughput" else measurement.p95_judgement
    return {"stable": judgement.stable, "spread": _rounded(judgement.spread, 4), "reason": judgement.reason}


def _latency(latency: Percentiles) -> dict[str, Any]:
    return {
        "n": latency.n,
        "mean": _rounded(latency.mean_ms),
        "p50": _rounded(latency.p50_ms),
        "p90": _rounded(latency.p90_ms),
        "p95": _rounded(latency.p95_ms),
        "p99": _rounded(latency.p99_ms),
        "max": _rounded(latency.max_ms),
    }


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


def as_text(measurement: Measurement) -> str:
    """For a person at a terminal: what ran, what it did, and how far to trust it."""
    engine = measurement.engine
    if not measurement.duration_s:
        return f"verdict     {verdict_in_words(measurement)}"
    lines = [f"engine      {_deployment(engine.effective)}"]
    if engine.requested.cell and engine.requested.cell != engine.effective.cell:
        lines.append(f"requested   {engine.requested.cell}, effective {engine.effective.cell}")
    lines += [f"! {notice.message}" + (f": {notice.fix}" if notice.fix else "") for notice in engine.warnings]
    lines.append(f"load        {_load(measurement)}")
    if measurement.rates is not None:
        lines += _figures(measurement)
    errors = ", ".join(f"{count:,} x {code}" for code, count in sorted(measurement.errors.items()))
    retries = f", {measurement.retries:,} retries" if measurement.retries else ""
    lines += [f"errors      {errors or 'none'}{retries}", f"verdict     {verdict_in_words(measurement)}"]
    return "\n".join(lines)


def _deployment(deployment: Deployment) -> str:
    shape = f"{deployment.instances} x {deployment.threads} threads" if deployment.instances else ""
    return ", ".join(part for part in (deployment.cell, deployment.device, shape, deployment.model) if part)


def _load(measurement: Measurement) -> str:
    load, spec = measurement.spec.load, measurement.spec
    stream = ", streamed" if load.stream else ""
    return (
        f"closed loop, batch {load.batch}, concurrency {load.concurrency}, {load.workload}, corpus {load.corpus}"
        f"{stream}; {measurement.duration_s:.1f} s after {spec.warm_up_s:g} s of warm-up"
    )


def _figures(measurement: Measurement) -> list[str]:
    found, batches, stages = measurement.rates, measurement.batches, measurement.stages
    if found is None:
        return []
    interval = f"  (95 %: {found.low:,.0f} to {found.high:,.0f})" if found.low is not None else ""
    pairs = f"  {found.pairs_per_s:,.1f} pairs/s" if measurement.spec.load.workload == "pairs" else ""
    lines = [
        f"throughput  {found.texts_per_s:,.1f} texts/s{interval}{pairs}  {found.requests_per_s:,.1f} requests/s",
        f"latency     {_percentiles(measurement.latency)}  (closed loop: a slow answer delays the next request)",
    ]
    if batches.mean_items is not None:
        padding = f", padding {batches.padding_ratio:.0%}" if batches.padding_ratio is not None else ""
        rss = f", RSS {measurement.rss_bytes / 2**20:,.0f} MiB" if measurement.rss_bytes else ""
        lines.append(
            f"server      {batches.mean_items:.1f} texts a batch, {batches.mean_tokens:.0f} tokens{padding}{rss}"
        )
    if stages is not None:
        lines.append(
            f"stages      queue {stages.queue_ms:.2f}, tokenize {stages.tokenize_ms:.2f}, infer {stages.infer_ms:.2f},"
            f" serialize {stages.serialize_ms:.2f} ms (means of a request)"
        )
    lines.append(f"driver      {measurement.client_cpu_cores:.0%} of a core")
    return lines


def _percentiles(latency: Percentiles) -> str:
    parts = [f"p50 {latency.p50_ms:.2f}"] if latency.p50_ms is not None else []
    for name, value, floor in (("p95", latency.p95_ms, P95_FLOOR), ("p99", latency.p99_ms, P99_FLOOR)):
        parts.append(f"{name} {value:.2f}" if value is not None else f"{name} – (needs {floor} requests)")
    if latency.max_ms is not None:
        parts.append(f"max {latency.max_ms:.2f}")
    return f"{', '.join(parts)} ms, n={latency.n:,}"


def verdict_in_words(measurement: Measurement) -> str:
    """One sentence with its reason and, where there is one, the next step."""
    early = "interrupted; " if measurement.interrupted else ""
    match measurement.verdict:
        case Verdict.FAILED:
            return f"{early}failed: {measurement.failure}"
        case Verdict.CLIENT_BOUND:
            return (
                f"{early}client bound: the load driver used {measurement.client_cpu_cores:.0%} of a core, so the engine"
                " may be faster than this; use a larger batch or --stream"
            )
        case Verdict.UNSTABLE:
            steady = measurement.throughput_judgement.stable
            judgement = measurement.p95_judgement if steady else measurement.throughput_judgement
            figure = "p95" if steady else "throughput"
            return f"{early}unstable: {figure}: {judgement.reason}; run longer, or on a quieter machine"
    if measurement.slo_missed:
        p95_ms = measurement.latency.p95_ms
        got = f"p95 is {p95_ms:.2f} ms" if p95_ms is not None else "too few requests to state p95"
        return f"{early}SLO missed: {got}, the target is {measurement.spec.slo_p95_ms:g} ms"
    return f"{early}ok: steady, {measurement.throughput_judgement.reason}"
