"""One run as text for a terminal."""

from console.analysis.memory import memory_note
from console.analysis.validity import Lag
from console.measure.measurement import Measurement
from console.measure.result import verdict_sentence
from console.model.engine import Deployment
from console.model.load import P95_FLOOR, P99_FLOOR, Percentiles

_SCHEDULE_WORTH_TELLING = 0.02


def as_text(measurement: Measurement) -> str:
    """For a person at a terminal: what ran, what it did, and how far to trust it."""
    engine = measurement.engine
    if not measurement.duration_s:
        return f"verdict     {verdict_sentence(measurement)}"
    lines = [f"engine      {_deployment(engine.effective)}"]
    if engine.requested.cell and engine.requested.cell != engine.effective.cell:
        lines.append(f"requested   {engine.requested.cell}, effective {engine.effective.cell}")
    lines += [f"! {notice.message}" + (f": {notice.fix}" if notice.fix else "") for notice in engine.warnings]
    lines.append(f"load        {_load(measurement)}")
    if measurement.rates is not None:
        lines += _figures(measurement)
    errors = ", ".join(f"{count:,} x {code}" for code, count in sorted(measurement.errors.items()))
    retries = f", {measurement.retries:,} retries" if measurement.retries else ""
    lines += [f"errors      {errors or 'none'}{retries}", f"verdict     {verdict_sentence(measurement)}"]
    return "\n".join(lines)


def _deployment(deployment: Deployment) -> str:
    shape = f"{deployment.instances} x {deployment.threads} threads" if deployment.instances else ""
    return ", ".join(part for part in (deployment.cell, deployment.device, shape, deployment.model) if part)


def _load(measurement: Measurement) -> str:
    load, spec = measurement.spec.load, measurement.spec
    stream = ", streamed" if load.stream else ""
    ramp = f" and a ramp of {load.ramp_s:g} s" if load.ramp_s else ""
    if load.is_open:
        loop = f"open loop at {load.rate:g} requests/s ({load.arrival}), batch {load.batch}"
    else:
        loop = f"closed loop, batch {load.batch}, concurrency {load.concurrency}"
    return (
        f"{loop}, {load.workload}, corpus {load.corpus}{stream};"
        f" {measurement.duration_s:.1f} s after {spec.warm_up_s:g} s of warm-up{ramp}"
    )


def _figures(measurement: Measurement) -> list[str]:
    found, batches, stages = measurement.rates, measurement.batches, measurement.stages
    if found is None:
        return []
    interval = f"  (95 %: {found.low:,.0f} to {found.high:,.0f})" if found.low is not None else ""
    pairs = f"  {found.pairs_per_s:,.1f} pairs/s" if measurement.spec.load.workload == "pairs" else ""
    lines = [
        f"throughput  {found.texts_per_s:,.1f} texts/s{interval}{pairs}  {found.requests_per_s:,.1f} requests/s",
        f"latency     {_percentiles(measurement.latency)}  ({_loop_note(measurement)})",
    ]
    if batches.mean_items is not None:
        padding = f", padding {batches.padding_ratio:.0%}" if batches.padding_ratio is not None else ""
        note = memory_note(measurement.deployments_before)
        rss = f", RSS {measurement.rss_bytes / 2**20:,.0f} MiB {note}".rstrip() if measurement.rss_bytes else ""
        lines.append(
            f"server      {batches.mean_items:.1f} texts a batch, {batches.mean_tokens:.0f} tokens{padding}{rss}"
        )
    if stages is not None:
        lines.append(
            f"stages      queue {stages.queue_ms:.2f}, tokenize {stages.tokenize_ms:.2f}, infer {stages.infer_ms:.2f},"
            f" serialize {stages.serialize_ms:.2f} ms (means of a request)"
        )
    if (bottleneck := measurement.bottleneck) is not None:
        lines.append(f"bottleneck  {bottleneck.sentence}")
    lines.append(f"driver      {_driver(measurement)}")
    return lines


def _loop_note(measurement: Measurement) -> str:
    if measurement.spec.load.is_open:
        return "open loop: from the scheduled time"
    return "closed loop: a slow answer delays the next request"


def _driver(measurement: Measurement) -> str:
    parts = [f"{measurement.client_cpu_cores:.0%} of a core"]
    if measurement.ceiling is not None and measurement.rates is not None:
        ceiling = measurement.ceiling
        share = ceiling.share(measurement.rates.requests_per_s)
        parts.append(f"{share:.0%} of its own ceiling of {ceiling.requests_per_s:,.0f} requests/s")
    if measurement.lag is not None:
        name, late_ms = measurement.lag.judged
        parts.append(f"sent late by {name} {late_ms:.2f} ms")
        parts += _schedule(measurement, measurement.lag)
    if measurement.dropped:
        limit = measurement.spec.load.max_in_flight
        parts.append(f"{measurement.dropped:,} arrivals dropped with {limit:,} requests unanswered")
    return ", ".join(parts)


def _schedule(measurement: Measurement, lag: Lag) -> list[str]:
    """What chance made of the rate, where that is more than a reader of the throughput would shrug at."""
    load, duration_s = measurement.spec.load, measurement.duration_s
    if load.arrival != "poisson" or not (load.is_open and duration_s):
        return []
    due_per_s = (lag.n + measurement.dropped) / duration_s
    if abs(due_per_s / load.rate - 1) <= _SCHEDULE_WORTH_TELLING:
        return []
    return [f"{load.arrival} arrivals of seed {load.seed} came at {due_per_s:,.1f}/s in this time"]


def _percentiles(latency: Percentiles) -> str:
    parts = [f"p50 {latency.p50_ms:.2f}"] if latency.p50_ms is not None else []
    for name, value, floor in (("p95", latency.p95_ms, P95_FLOOR), ("p99", latency.p99_ms, P99_FLOOR)):
        parts.append(f"{name} {value:.2f}" if value is not None else f"{name} – (needs {floor} requests)")
    if latency.max_ms is not None:
        parts.append(f"max {latency.max_ms:.2f}")
    return f"{', '.join(parts)} ms, n={latency.n:,}"
