"""A measurement as the JSON object of `run --json`, and its verdict as a sentence."""

from dataclasses import asdict
from typing import Any

from console.analysis.validity import DROPPED, SATURATED_CORES, Lag
from console.measure.environment import environment
from console.measure.measurement import Measurement
from console.model.load import P95_FLOOR, P99_FLOOR, Percentiles
from console.model.verdicts import Verdict

SCHEMA_VERSION = 1


def as_json(measurement: Measurement) -> dict[str, Any]:
    """Returns the object of `run --json`. Figures that cannot be stated are null; units are in the names."""
    engine, load, rates = measurement.engine, measurement.spec.load, measurement.rates
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
            "requests_in_flight": {
                "holds": measurement.little.stable,
                "ratio": _rounded(measurement.little.spread, 4),
                "reason": measurement.little.reason,
            },
            "errors": _errors(measurement),
            "duration_needed_s": measurement.required_duration_s,
        },
        "failure": measurement.failure or None,
        "interrupted": measurement.interrupted,
        "duration_s": round(measurement.duration_s, 3),
        "warm_up_s": measurement.spec.warm_up_s,
        "throughput": {
            "texts_per_s": _rounded(rates.texts_per_s if rates else None),
            "pairs_per_s": _rounded(rates.pairs_per_s) if rates and load.workload == "pairs" else None,
            "requests_per_s": _rounded(rates.requests_per_s if rates else None),
            "ci_low": _rounded(rates.low if rates else None),
            "ci_high": _rounded(rates.high if rates else None),
        },
        "latency_ms": _latency(measurement.latency),
        "server": {
            "mean_batch_items": _rounded(batches.mean_items),
            "mean_batch_tokens": _rounded(batches.mean_tokens),
            "padding_ratio": _rounded(batches.padding_ratio, 4),
            "rss_bytes": measurement.rss_bytes,
            "cpu": _rounded(measurement.engine_cpu_cores),
            "stages_ms": {
                name: _rounded(getattr(stages, f"{name}_ms") if stages else None, 4)
                for name in ("queue", "tokenize", "infer", "serialize")
            },
        },
        "client": _client(measurement),
        "bottleneck": asdict(measurement.bottleneck) if measurement.bottleneck is not None else None,
        "errors": measurement.errors,
        "fidelity": None if measurement.fidelity is None else {"cosine_mean": round(measurement.fidelity, 6)},
        "environment": environment(engine),
    }


def _errors(measurement: Measurement) -> dict[str, Any]:
    failed, judgement = measurement.failures, measurement.failures.judgement
    share = _rounded(failed.share, 6)
    return {"holds": judgement.stable, "ratio": share, "code": failed.code or None, "reason": judgement.reason}


def _client(measurement: Measurement) -> dict[str, Any]:
    lag, ceiling, rates = measurement.lag, measurement.ceiling, measurement.rates
    return {
        "cpu": round(measurement.client_cpu_cores, 3),
        "saturated": measurement.saturated,
        "send_lag_ms": None if lag is None else _send_lag(lag),
        "dropped": measurement.dropped,
        "ceiling": None
        if ceiling is None
        else {
            "requests_per_s": _rounded(ceiling.requests_per_s),
            "cpu_us_per_request": _rounded(ceiling.cpu_us_per_request),
            "share": _rounded(ceiling.share(rates.requests_per_s), 4) if rates else None,
        },
        "retries": measurement.retries,
        "truncated_texts": measurement.truncated_texts,
    }


def _send_lag(lag: Lag) -> dict[str, Any]:
    return {
        "n": lag.n,
        "p50": _rounded(lag.p50_ms),
        "p95": _rounded(lag.p95_ms if lag.n >= P95_FLOOR else None),
        "p99": _rounded(lag.p99_ms if lag.n >= P99_FLOOR else None),
    }


def _workload(measurement: Measurement) -> dict[str, Any]:
    load = measurement.spec.load
    return {
        "batch": load.batch,
        "concurrency": None if load.is_open else load.concurrency,
        "rate": load.rate if load.is_open else None,
        "arrival": load.arrival if load.is_open else None,
        "max_in_flight": load.max_in_flight if load.is_open else None,
        "ramp_s": load.ramp_s,
        "workload": load.workload,
        "corpus": load.corpus,
        "stream": load.stream,
        "seed": load.seed,
        "loop": "open" if load.is_open else "closed",
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


def _wide_interval(measurement: Measurement) -> str:
    """Returns a note on a wide interval: the end of the run was steady, but earlier seconds differed from it."""
    rates = measurement.rates
    if rates is None or rates.margin is None or not rates.wide or measurement.spec.load.is_open:
        return ""
    return (
        f"; but the interval is wide, ±{rates.margin:.0%}: earlier seconds differed, --duration auto measures until"
        " it is narrow"
    )


def _client_bound(measurement: Measurement) -> str:
    lag, cpu = measurement.lag, f"the load generator used {measurement.client_cpu_cores:.0%} of a core"
    if lag is not None and measurement.client_cpu_cores <= SATURATED_CORES:
        name, late_ms = lag.judged
        return (
            f"{cpu}, but its send lag was {name} {late_ms:.1f} ms, so the latencies are partly its own;"
            " give it a core of its own, or lower --rate"
        )
    return f"{cpu}, so the engine may be faster than this; use a larger batch or --stream"


def _too_short(measurement: Measurement) -> str:
    """Returns the first figure that the run was too short for, and the duration that it needs."""
    figure, judgement = next(iter(measurement.unsettled.items()))
    needed_s = measurement.required_duration_s
    if needed_s is not None:
        return f"{figure} needs about {needed_s} s; use --duration {needed_s}s, or --duration auto"
    return f"{figure}: {judgement.reason}; use --duration auto"


def _unsettled(measurement: Measurement) -> str:
    """Returns the first figure that was not steady, whatever the duration, and the next step."""
    figure, judgement = next((name, one) for name, one in measurement.unsettled.items() if not one.short)
    if judgement is measurement.little:
        return judgement.reason
    return f"{figure}: {judgement.reason}; run longer, or on a quieter machine"


def _next_step(measurement: Measurement) -> str:
    """Returns the next step against errors: an engine that refuses or drops requests is overloaded."""
    if measurement.failures.code in (DROPPED, "RESOURCE_EXHAUSTED"):
        return f"; the engine does not keep up: lower {'--rate' if measurement.spec.load.is_open else '--concurrency'}"
    return "; the engine's log may say why"


def verdict_sentence(measurement: Measurement) -> str:
    """Returns the verdict as a sentence with its reason and, if there is one, the next step."""
    early = "interrupted; " if measurement.interrupted else ""
    match measurement.verdict:
        case Verdict.FAILED:
            return f"{early}failed: {measurement.failure}"
        case Verdict.CLIENT_BOUND:
            return f"{early}client bound: {_client_bound(measurement)}"
        case Verdict.ERRORS:
            return f"{early}errors: {measurement.failures.judgement.reason}{_next_step(measurement)}"
        case Verdict.TOO_SHORT:
            return f"{early}too short: {_too_short(measurement)}"
        case Verdict.UNSTABLE:
            return f"{early}unstable: {_unsettled(measurement)}"
    if measurement.slo_missed:
        p95_ms = measurement.latency.p95_ms
        p95 = f"p95 is {p95_ms:.2f} ms" if p95_ms is not None else "too few requests to state p95"
        return f"{early}SLO missed: {p95}, the target is {measurement.spec.slo_p95_ms:g} ms"
    if measurement.late_but_met:
        return f"{early}ok: some requests were sent late; SLO met even including that delay"
    return f"{early}ok: steady, {measurement.throughput_judgement.reason}{_wide_interval(measurement)}"
