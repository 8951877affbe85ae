"""Statistics of measured intervals: throughput with its confidence interval, certified percentiles, and stability.

Percentiles come from merged histograms, never from averages of percentiles. They are certified from P95_FLOOR and
P99_FLOOR requests on: the largest of n samples lies above the p-quantile with probability 1 - p^n, which is 99.9 % at
both.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, fmean, stdev

from hdrh.histogram import HdrHistogram

from console.load.protocol import Answers, Interval
from console.load.recorder import LONGEST_LATENCY_US, SIGNIFICANT_DIGITS
from console.model.load import P95_FLOOR, P99_FLOOR, Percentiles
from console.model.switch import Change

MAX_STABLE_RATIO = 1.10
JUDGED_WINDOWS = 3
WINDOW_MIN_S = 1.0
WINDOW_MIN_REQUESTS = 50
BLOCKS = 5
"""Number of blocks for the interval of the throughput, equal to the number of windows of a run."""
EQUIVALENCE_MARGIN = 0.03
MAX_MARGIN = 0.10
"""Relative margin above which a confidence interval is wide, equal to the spread allowed between steady windows."""
_US_PER_MS = 1000.0
_TWO_SIDED_95 = 0.975


@dataclass(frozen=True, slots=True)
class Rates:
    """Successful completions a second. `low`, `high`: 95 % confidence interval of texts/s."""

    requests_per_s: float
    texts_per_s: float
    pairs_per_s: float
    low: float | None = None
    high: float | None = None

    @property
    def wide(self) -> bool:
        """Whether the margin exceeds MAX_MARGIN. False if the margin is not known."""
        return self.margin is not None and self.margin > MAX_MARGIN

    @property
    def margin(self) -> float | None:
        """Half-width of the interval, relative to texts/s."""
        if self.high is None or not self.texts_per_s:
            return None
        return self.high / self.texts_per_s - 1


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether one metric was steady. `spread` is max/min over the last windows."""

    stable: bool
    reason: str
    spread: float | None = None
    windows: Sequence[float] = field(default_factory=tuple)
    short: bool = False
    """Not stable only because the run is too short."""


def merge(answers: Iterable[Answers]) -> HdrHistogram:
    """Merges the latency histograms into one, in whole microseconds."""
    merged = HdrHistogram(1, LONGEST_LATENCY_US, SIGNIFICANT_DIGITS)
    for part in answers:
        if part.latency:
            merged.add(HdrHistogram.decode(part.latency))
    return merged


def percentiles(answers: Sequence[Answers], *, certified: bool) -> Percentiles:
    """Returns the latency percentiles of all answers. `certified`: p95 and p99 are None below their minimum of n."""
    n = sum(part.requests for part in answers)
    if n == 0:
        return Percentiles()
    merged = merge(answers)
    values_us = merged.get_percentile_to_value_dict([50, 90, 95, 99])
    p95 = None if certified and n < P95_FLOOR else values_us[95] / _US_PER_MS
    p99 = None if certified and n < P99_FLOOR else values_us[99] / _US_PER_MS
    return Percentiles(
        n=n,
        mean_ms=sum(part.latency_sum_us for part in answers) / n / _US_PER_MS,
        p50_ms=values_us[50] / _US_PER_MS,
        p90_ms=values_us[90] / _US_PER_MS,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=merged.max_value / _US_PER_MS,
    )


def rates(intervals: Sequence[Interval]) -> Rates | None:
    """Returns (completed - 1) / (last completion - first completion).

    Returns None below two completions, or if all completions lie within less than half of the time: a burst, not a
    rate.

    The 95 % interval is a t-interval of the means of BLOCKS equal blocks (batch means: Law, Simulation Modeling and
    Analysis, 2015, §9.5). Consecutive seconds are correlated, which would make the interval too narrow; blocks are much
    less so. With fewer intervals than blocks, each interval is a block.
    """
    requests = sum(interval.answers.requests for interval in intervals)
    firsts = [interval.first_completion_s for interval in intervals if interval.first_completion_s is not None]
    lasts = [interval.last_completion_s for interval in intervals if interval.last_completion_s is not None]
    span_s = max(lasts) - min(firsts) if firsts else 0.0
    if requests < 2 or span_s <= 0 or span_s < sum(interval.duration_s for interval in intervals) / 2:
        return None
    requests_per_s = (requests - 1) / span_s
    texts = sum(interval.answers.texts for interval in intervals)
    pairs = sum(interval.pairs for interval in intervals)
    texts_per_s = requests_per_s * texts / requests
    half_width = mean_margin(completion_rates(blocks([i for i in intervals if i.duration_s >= WINDOW_MIN_S / 2])))
    return Rates(
        requests_per_s=requests_per_s,
        texts_per_s=texts_per_s,
        pairs_per_s=requests_per_s * pairs / requests,
        low=None if half_width is None else max(texts_per_s - half_width, 0.0),
        high=None if half_width is None else texts_per_s + half_width,
    )


def blocks(intervals: Sequence[Interval], count: int = BLOCKS) -> list[list[Interval]]:
    """Splits the intervals into at most `count` consecutive blocks of nearly equal duration."""
    total_s = sum(interval.duration_s for interval in intervals)
    parts: list[list[Interval]] = [[]]
    passed_s = 0.0
    for interval in intervals:
        if parts[-1] and passed_s + interval.duration_s / 2 > total_s * len(parts) / count:
            parts.append([])
        parts[-1].append(interval)
        passed_s += interval.duration_s
    return parts if parts[0] else []


def completion_rates(parts: Sequence[Sequence[Interval]]) -> list[float]:
    """Returns texts/s of consecutive windows, each from the last completion before the window to its own last one.

    The time between completions, rather than between clock ticks, makes the rate independent of whether a batch ends
    just before or just after a tick. The first window begins with its first completion, which is not counted. A window
    without completions has rate 0, and its time is not added to the next window.
    """
    window_rates: list[float] = []
    begin_s: float | None = None
    for part in parts:
        firsts = [i.first_completion_s for i in part if i.first_completion_s is not None]
        lasts = [i.last_completion_s for i in part if i.last_completion_s is not None]
        requests = sum(i.answers.requests for i in part)
        texts = float(sum(i.answers.texts for i in part))
        if not firsts:
            window_rates.append(0.0)
            begin_s = part[-1].end_s if part else begin_s
            continue
        if begin_s is None:
            begin_s, texts = firsts[0], texts * (requests - 1) / requests
        window_rates.append(texts / (lasts[-1] - begin_s) if lasts[-1] > begin_s else 0.0)
        begin_s = lasts[-1]
    return window_rates


def mean_margin(values: Sequence[float]) -> float | None:
    """Returns the half-width of the mean's 95 % t-interval; None below two values."""
    if len(values) < 2:
        return None
    return t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))


def t_quantile(degrees: float, probability: float = _TWO_SIDED_95) -> float:
    """Returns the quantile of Student's t distribution.

    Exact for 1 and 2 degrees of freedom, else the Cornish-Fisher series (Abramowitz & Stegun 26.7.5). The error of the
    series is below 1 % from 3 degrees on, which is far below the noise of the measurements.
    """
    if degrees < 2:
        return math.tan(math.pi * (probability - 0.5))
    if degrees < 3:
        alpha = 4 * probability * (1 - probability)
        return 2 * (probability - 0.5) * math.sqrt(2 / alpha)
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / degrees**power for power, term in enumerate(terms))


def windows(
    intervals: Sequence[Interval], length_s: float = WINDOW_MIN_S, requests: int = WINDOW_MIN_REQUESTS
) -> list[list[Interval]]:
    """Joins consecutive intervals into windows of at least `length_s` (minimum 1 s) and `requests` requests.

    Intervals at the end that do not fill a window are dropped.
    """
    joined: list[list[Interval]] = []
    current: list[Interval] = []
    wanted_s = max(length_s, WINDOW_MIN_S) * 0.95  # an interval that ends a few ms early still counts as a second
    for interval in intervals:
        current.append(interval)
        long_enough = sum(part.duration_s for part in current) >= wanted_s
        if long_enough and sum(part.answers.requests for part in current) >= requests:
            joined.append(current)
            current = []
    return joined


def judge_throughput(parts: Sequence[Sequence[Interval]]) -> Judgement:
    """Judges throughput as steady if max/min of texts/s over the last three windows is at most 1.10.

    In an open loop the schedule determines the throughput, and Poisson arrivals alone vary by more than that. There,
    the answers per arrival of the windows are compared.
    """
    arrivals = [sum(interval.arrivals for interval in part) for part in parts]
    if not any(arrivals):
        return _judge(completion_rates(parts), WINDOW_MIN_REQUESTS)
    answered = [sum(interval.answers.requests for interval in part) for part in parts]
    per_arrival = [done / max(arrived, 1) for done, arrived in zip(answered, arrivals, strict=True)]
    return _judge(per_arrival, WINDOW_MIN_REQUESTS)


def judge_p95(parts: Sequence[Sequence[Interval]]) -> Judgement:
    """Judges p95 like throughput, on windows of at least P95_FLOOR requests; with fewer the judgement is `short`."""
    for window in parts[-JUDGED_WINDOWS:]:
        n = sum(interval.answers.requests for interval in window)
        if n < P95_FLOOR:
            reason = f"too few requests to judge p95: {n} in a window that needs {P95_FLOOR}"
            return Judgement(False, reason, short=True)

    def p95_ms(window: Sequence[Interval]) -> float:
        return percentiles([interval.answers for interval in window], certified=False).p95_ms or 0.0

    return _judge([p95_ms(window) for window in parts], P95_FLOOR)


def _judge(values: Sequence[float], window_requests: int) -> Judgement:
    if len(values) < JUDGED_WINDOWS:
        reason = (
            f"too short to judge: {len(values)} of {JUDGED_WINDOWS} windows of at least {WINDOW_MIN_S:.0f} s"
            f" and {window_requests} requests"
        )
        return Judgement(False, reason, short=True)
    last = values[-JUDGED_WINDOWS:]
    if min(last) <= 0:
        return Judgement(False, "a window without an answer", None, last)
    spread = max(last) / min(last)
    stable = spread <= MAX_STABLE_RATIO
    word = "within" if stable else "beyond"
    digits = 2 if stable or f"{spread:.2f}" != f"{MAX_STABLE_RATIO:.2f}" else 4  # "1.1023 is beyond 1.10", not "1.10"
    reason = f"the last {JUDGED_WINDOWS} windows' max/min is {spread:.{digits}f}, {word} {MAX_STABLE_RATIO:.2f}"
    return Judgement(stable, reason, spread, last)


def log_ratio_of_means(before: Sequence[float], after: Sequence[float]) -> tuple[float, float] | None:
    """Returns the logarithm of mean(after) / mean(before) and the half-width of its 95 % interval.

    The ratio is that of the two means that are shown beside it. The interval is Welch's, for unequal variances, of the
    relative errors of the means (the delta method: the variance of log(mean) is that of the mean over its square).
    Returns None if a side has fewer than three values or a mean that is not positive.
    """
    if min(len(before), len(after)) < 3 or min(fmean(before), fmean(after)) <= 0:
        return None
    difference = math.log(fmean(after) / fmean(before))
    variances = [(stdev(side) / fmean(side)) ** 2 / len(side) for side in (before, after)]
    total = sum(variances)
    if total == 0:
        return difference, 0.0
    degrees = total**2 / sum(one**2 / (len(side) - 1) for one, side in zip(variances, (before, after), strict=True))
    return difference, t_quantile(degrees) * math.sqrt(total)


def throughput_change(before: Sequence[float], after: Sequence[float]) -> Change:
    """Returns the relative change of the mean of per-second rates, with its 95 % margin.

    `relative` is `after / before - 1` of the two means. `margin` is None if a side has fewer than three values.
    """
    mean_before, mean_after = fmean(before), fmean(after)
    interval = log_ratio_of_means(before, after)
    if interval is None:
        return Change(mean_before, mean_after, mean_after / mean_before - 1 if mean_before else None)
    difference, half_width = interval
    margin = (math.exp(difference + half_width) - math.exp(difference - half_width)) / 2
    return Change(mean_before, mean_after, math.expm1(difference), margin)


def percentile_change(
    before: Sequence[Answers], after: Sequence[Answers], percentile: float, floor: int
) -> Change | None:
    """Returns the relative change of one latency percentile (ms), or None if a side has fewer than `floor` requests.

    The margin comes from order statistics: the ranks n p ± z sqrt(n p (1 - p)) bound each side's percentile.
    """
    sides = []
    for answers in (before, after):
        n = sum(part.requests for part in answers)
        if n < floor:
            return None
        share = percentile / 100
        spread = 100 * NormalDist().inv_cdf(_TWO_SIDED_95) * math.sqrt(share * (1 - share) / n)
        wanted = sorted({percentile - spread, percentile, min(percentile + spread, 100.0)})
        values_us = merge(answers).get_percentile_to_value_dict(wanted)
        sides.append([max(values_us[key], 1) / _US_PER_MS for key in wanted])
    (low_before, value_before, high_before), (low_after, value_after, high_after) = sides
    width = math.hypot(math.log(high_before / low_before) / 2, math.log(high_after / low_after) / 2)
    relative = value_after / value_before - 1
    return Change(value_before, value_after, relative, (1 + relative) * math.sinh(width))


def verdict(change: Change) -> str:
    """Returns `same` if the interval lies within ±3 %, `faster` or `slower` if it excludes 0, else `undecided`."""
    if change.relative is None or change.margin is None:
        return "undecided"
    low, high = change.relative - change.margin, change.relative + change.margin
    if low >= -EQUIVALENCE_MARGIN and high <= EQUIVALENCE_MARGIN:
        return "same"
    if low > 0:
        return "faster"
    return "slower" if high < 0 else "undecided"
