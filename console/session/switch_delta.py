"""The effect of a switch: steady seconds before it, compared with steady seconds after its cut-over."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from console.analysis.steady_state import percentile_change, throughput_change, verdict
from console.load.protocol import Interval
from console.model.engine import CapabilityCell, Deployment
from console.model.load import P95_FLOOR, P99_FLOOR
from console.model.switch import Change, SwitchDelta
from console.session.live_metrics import EngineSample

BEFORE_S = 10.0
CUT_S = 5.0
"""Seconds ignored after the cut-over, while the new deployment warms up under load."""
AFTER_S = 10.0
_P50_FLOOR = 30
_RSS_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class SwitchTimes:
    """The times of a switch, in the session's time. `steady_since_s`: end of the load's warm-up before the switch."""

    ordinal: int
    label: str
    requested_s: float
    cut_over_s: float
    released_s: float
    steady_since_s: float
    before: Deployment = field(default_factory=Deployment)
    after: Deployment = field(default_factory=Deployment)


def begin_delta(times: SwitchTimes) -> SwitchDelta:
    """Returns the delta right after the release, when only the duration of the switch is known."""
    return SwitchDelta(
        ordinal=times.ordinal,
        label=times.label,
        time_s=times.cut_over_s,
        took_s=times.released_s - times.requested_s,
        settled=False,
        settling_left_s=CUT_S + AFTER_S,
    )


def measure_delta(
    times: SwitchTimes,
    now_s: float,
    intervals: Sequence[Interval],
    samples: Sequence[EngineSample],
    changed_again_s: float | None = None,
) -> SwitchDelta:
    """Returns the delta from the measurements so far.

    `changed_again_s`: when the load, the knobs or the deployment changed again, which ends the measurement.
    """
    end_s = times.cut_over_s + CUT_S + AFTER_S
    after_end_s = end_s if changed_again_s is None else min(end_s, changed_again_s)
    settled = now_s >= after_end_s
    slack_s = 0.05
    before = [
        interval
        for interval in intervals
        if interval.start_s >= max(times.steady_since_s, times.requested_s - BEFORE_S) - slack_s
        and interval.end_s <= times.requested_s + slack_s
    ]
    after = [
        interval
        for interval in intervals
        if interval.start_s >= times.cut_over_s + CUT_S - slack_s and interval.end_s <= after_end_s + 1.0
    ]
    during = [i for i in intervals if i.end_s > times.requested_s and i.start_s < times.released_s]
    delta = replace(
        begin_delta(times),
        settled=settled,
        settling_left_s=max(after_end_s - now_s, 0.0),
        rss_bytes=_rss_change(times, samples),
        errors=sum(sum(interval.errors.values()) for interval in during),
    )
    answered_before = [i for i in before if i.answers.requests]
    answered_after = [i for i in after if i.answers.requests]
    if not answered_before or not answered_after:
        return replace(delta, verdict=_missing_reason(settled, bool(answered_before), changed_again_s is not None))
    change = throughput_change(_rates(before), _rates(after))
    if not settled:
        return replace(delta, texts_per_s=change)
    first, second = [i.answers for i in answered_before], [i.answers for i in answered_after]
    return replace(
        delta,
        texts_per_s=change,
        p50_ms=percentile_change(first, second, 50, _P50_FLOOR),
        p95_ms=percentile_change(first, second, 95, P95_FLOOR),
        p99_ms=percentile_change(first, second, 99, P99_FLOOR),
        verdict=verdict(change),
    )


def fidelity_change(times: SwitchTimes, cells: Sequence[CapabilityCell]) -> Change | None:
    """Returns the mean cosine to fp32 before and after; None unless the engine has measured both."""
    known = {(cell.backend, cell.precision, cell.device, cell.recipe): cell.fidelity for cell in cells}
    before, after = (
        known.get((one.backend, one.precision, one.device, one.recipe)) for one in (times.before, times.after)
    )
    return None if not before or after is None else Change(before, after, after / before - 1)


def _missing_reason(settled: bool, had_load_before: bool, changed_again: bool) -> str:
    if not settled:
        return ""
    if changed_again:
        return "changed again before it settled"
    return "no load after it" if had_load_before else "no load"


def _rates(intervals: Sequence[Interval]) -> list[float]:
    return [interval.answers.texts / interval.duration_s for interval in intervals]


def _rss_change(times: SwitchTimes, samples: Sequence[EngineSample]) -> Change | None:
    before = [sample.rss_bytes for sample in samples if sample.time_s <= times.requested_s][-_RSS_SAMPLES:]
    after = [sample.rss_bytes for sample in samples if sample.time_s >= times.released_s][-_RSS_SAMPLES:]
    if not before or not after or not before[-1]:
        return None
    return Change(float(before[-1]), float(after[-1]), after[-1] / before[-1] - 1)
