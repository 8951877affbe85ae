"""The result of a run: its figures, and the verdict on them. Pure."""

import math
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from console.analysis.bottleneck import Bottleneck, ObservedLoad, find_bottleneck
from console.analysis.steady_state import WINDOW_MIN_REQUESTS, Judgement, Rates, percentiles, rates
from console.analysis.validity import (
    Failures,
    Lag,
    check_littles_law,
    cpu_saturated,
    failures,
    lag_saturated,
    required_duration_s,
    send_lag,
)
from console.load.protocol import Interval
from console.measure.certification import judgements, steady
from console.measure.driver_ceiling import Ceiling
from console.measure.spec import RunSpec
from console.model.engine import Engine
from console.model.load import P95_FLOOR, Percentiles, Stages
from console.model.verdicts import Verdict
from console.session.live_metrics import Batches, EngineSample, batches_between, mean_stages


@dataclass(frozen=True, slots=True)
class Measurement:
    """A finished or interrupted run."""

    run_id: str
    spec: RunSpec
    engine: Engine
    duration_s: float
    rates: Rates | None
    latency: Percentiles
    throughput_judgement: Judgement
    p95_judgement: Judgement
    stages: Stages | None
    batches: Batches
    rss_bytes: int
    client_cpu_cores: float
    saturated: bool
    """The load generator was the bottleneck: its CPU or, in an open loop, its send lag."""
    errors: dict[str, int]
    retries: int
    truncated_texts: int
    interrupted: bool
    little: Judgement = field(default_factory=lambda: Judgement(True, "not judged"))
    lag: Lag | None = None
    """Open loop: delay between the scheduled and the actual send time."""
    dropped: int = 0
    """Open loop: arrivals that were not sent."""
    engine_cpu_cores: float | None = None
    ceiling: Ceiling | None = None
    """The load generator's highest request rate at this load shape; None if it is not known."""
    fidelity: float | None = None
    """Mean cosine to fp32 of the cell that ran, as the engine last measured it."""
    failure: str = ""
    """Why the run has no or incomplete results; empty if it ran to its end."""

    @property
    def verdict(self) -> Verdict:
        if self.failure:
            return Verdict.FAILED
        if self.saturated and not self.late_but_met:
            return Verdict.CLIENT_BOUND
        if not self.failures.judgement.stable:
            return Verdict.ERRORS
        if not self.unsettled:
            return Verdict.OK
        return Verdict.TOO_SHORT if all(one.short for one in self.unsettled.values()) else Verdict.UNSTABLE

    @property
    def failures(self) -> Failures:
        """Requests that failed, were refused or were dropped."""
        return failures(self.errors, self.dropped, self.latency.n)

    @property
    def late_but_met(self) -> bool:
        """Whether the requests of an open loop met the SLO although some were sent late.

        Latency counts from the scheduled time, so late sending increases it and never decreases it: an SLO that is met
        is met however busy the load generator was.
        """
        if not (self.saturated and self.spec.load.is_open and self.lag is not None and self.little.stable):
            return False
        return self.spec.slo_p95_ms is not None and not self.slo_missed

    @property
    def unsettled(self) -> dict[str, Judgement]:
        """The figures that were not steady, by name. p95 counts only with an SLO."""
        judged = {"throughput": self.throughput_judgement, "requests in flight": self.little}
        if self.spec.load.is_open:  # first, because an engine that does not keep up explains the other figures
            judged = dict(reversed(judged.items()))
        if self.spec.slo_p95_ms is not None:
            judged["p95"] = self.p95_judgement
        return {name: judgement for name, judgement in judged.items() if not judgement.stable}

    @property
    def required_duration_s(self) -> int | None:
        """The `--duration` that would be long enough, if this run was too short to judge; else None."""
        short = {name: judgement for name, judgement in self.unsettled.items() if judgement.short}
        if not short or not self.latency.n:
            return None
        window_requests = P95_FLOOR if "p95" in short else WINDOW_MIN_REQUESTS
        answered_per_s = self.latency.n / self.duration_s
        return max(required_duration_s(answered_per_s, window_requests), math.ceil(self.duration_s) + 1)

    @property
    def bottleneck(self) -> Bottleneck | None:
        """What limited the throughput; None if nothing was measured."""
        if self.stages is None:
            return None
        return find_bottleneck(
            ObservedLoad(
                stages=self.stages,
                batch=self.spec.load.batch,
                client_mean_ms=self.latency.mean_ms,
                engine_cpu_cores=self.engine_cpu_cores,
                client_cpu_cores=self.client_cpu_cores,
                cores=self.engine.cores,
                padding_ratio=self.batches.padding_ratio,
            )
        )

    @property
    def slo_missed(self) -> bool:
        """Whether p95 exceeds the SLO, or cannot be stated because there were too few requests. False without SLO."""
        slo_ms = self.spec.slo_p95_ms
        return slo_ms is not None and (self.latency.p95_ms is None or self.latency.p95_ms > slo_ms)


def new_run_id() -> str:
    """Returns `r-`, the UTC time and a random suffix."""
    return f"r-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def recovered(
    spec: RunSpec, engine: Engine, intervals: Sequence[Interval], samples: Sequence[EngineSample]
) -> Measurement:
    """Returns the measurement of a run that did not end, from its stored intervals. Time 0 is the start of the load."""
    return summarise(spec, engine, steady(intervals, 0.0, spec), samples, True, "")


def unmeasured(spec: RunSpec, engine: Engine, failure: str) -> Measurement:
    """Returns the measurement of a run that could not start."""
    return summarise(spec, engine, (), (), False, failure)


def summarise(
    spec: RunSpec,
    engine: Engine,
    intervals: Sequence[Interval],
    samples: Sequence[EngineSample],
    interrupted: bool,
    failure: str,
) -> Measurement:
    """Returns the figures of the intervals. A run without an answered request has failed."""
    duration_s = sum(interval.duration_s for interval in intervals)
    throughput_judgement, p95_judgement = judgements(intervals)
    answers = [interval.answers for interval in intervals]
    errors: Counter[str] = Counter()
    for interval in intervals:
        errors.update(interval.errors)
    cpu_cores = sum(i.cpu_cores * i.duration_s for i in intervals) / duration_s if duration_s else 0.0
    measured = rates(intervals)
    latency = percentiles(answers, certified=True)
    lag = send_lag(intervals)
    if not any(part.requests for part in answers) and not failure:
        codes = ", ".join(f"{count:,} x {code}" for code, count in errors.most_common())
        last_error = next((i.last_error for i in reversed(intervals) if i.last_error), "")
        no_answer = f"no request was answered within {duration_s:.0f} s: run longer, or send smaller batches"
        failure = f"no request was answered ({codes}): {last_error}" if codes else no_answer
    return Measurement(
        run_id=new_run_id(),
        spec=spec,
        engine=engine,
        duration_s=duration_s,
        rates=measured,
        latency=latency,
        throughput_judgement=throughput_judgement,
        p95_judgement=p95_judgement,
        stages=mean_stages(list(intervals)),
        batches=_batches(intervals, samples),
        rss_bytes=engine.rss_bytes,
        client_cpu_cores=cpu_cores,
        saturated=cpu_saturated(intervals) or lag_saturated(lag, latency),
        little=check_littles_law(intervals, spec.load, measured.requests_per_s if measured else None, latency),
        lag=lag,
        dropped=sum(interval.dropped for interval in intervals),
        engine_cpu_cores=_engine_cpu_cores(intervals, samples),
        errors=dict(errors),
        retries=sum(interval.retries for interval in intervals),
        truncated_texts=sum(interval.truncated for interval in intervals),
        interrupted=interrupted,
        failure=failure,
    )


def _batches(intervals: Sequence[Interval], samples: Sequence[EngineSample]) -> Batches:
    inside = _samples_of(intervals, samples)
    return batches_between(inside[0], inside[-1]) if inside else Batches()


def _engine_cpu_cores(intervals: Sequence[Interval], samples: Sequence[EngineSample]) -> float | None:
    inside = _samples_of(intervals, samples)
    if len(inside) < 2 or inside[-1].cpu_s < inside[0].cpu_s:  # the engine was restarted in between
        return None
    return (inside[-1].cpu_s - inside[0].cpu_s) / (inside[-1].time_s - inside[0].time_s)


def _samples_of(intervals: Sequence[Interval], samples: Sequence[EngineSample]) -> list[EngineSample]:
    if not intervals:
        return []
    first_s, last_s = intervals[0].start_s - 0.5, intervals[-1].end_s + 0.5
    return [sample for sample in samples if first_s <= sample.time_s <= last_s]
