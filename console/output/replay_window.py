"""The Live window at a position of a stored run. Pure functions.

Of a run recorded from Live it is the one that Live showed then, from the same ticks and samples. Of other runs, which
have no ticks, rates come from the intervals.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from console.analysis.validity import SATURATED_S
from console.load.protocol import Interval
from console.model.load import Window
from console.session.live_metrics import (
    TICKS_S,
    WINDOW_S,
    EngineSample,
    Rate,
    Recent,
    began_since,
    driver_saturated,
    rate_of,
    samples_of_window,
    window_of,
)
from console.store.live import LiveRecord

WindowAt = tuple[Window, bool, float | None]
"""The window, whether the load generator was saturated, and its p99 send lag in ms (None if unknown)."""
_COMPLETE_SHARE = 0.8
"""Share of WINDOW_S that the previous window must cover to be compared with; a rule."""
_CACHED_WINDOWS = 4
"""Windows whose figures are cached: frames come ten times as often as intervals."""
_TICKS_PER_S = 10


class Windows:
    """The windows of a run."""

    def __init__(
        self,
        intervals: Sequence[Interval],
        shown_s: Sequence[float],
        samples: Sequence[EngineSample],
        live: LiveRecord | None,
        steady_since_s: float,
    ) -> None:
        """`shown_s`: for each interval, from when on its figures are shown. `steady_since_s`: end of the warm-up."""
        self._intervals = intervals
        self._samples = samples
        self._shown_s = shown_s
        self._sample_times_s = [sample.time_s for sample in samples]
        self._live = live
        self._tick_times_s = [tick.time_s for tick in live.ticks] if live is not None else []
        if live is None:
            self._best = _best(intervals, steady_since_s)
        else:
            self._best = _best_of_ticks(intervals, live, steady_since_s)
        self._figures = lru_cache(maxsize=_CACHED_WINDOWS)(self._figures_after)

    def at(self, position_s: float) -> WindowAt:
        """Returns the window at that position."""
        intervals = bisect_right(self._shown_s, position_s)
        samples = bisect_right(self._sample_times_s, position_s)
        ticks = bisect_right(self._tick_times_s, position_s)
        return self._figures(intervals, samples, ticks)

    def _figures_after(self, interval_count: int, sample_count: int, tick_count: int) -> WindowAt:
        """Returns the window after so many intervals, samples and ticks."""
        if not interval_count and not tick_count:
            return Window(window_s=WINDOW_S), False, None
        near = self._intervals[max(0, interval_count - int(2 * SATURATED_S)) : interval_count]
        end_s = near[-1].end_s if near else 0.0
        last = began_since(near, end_s, WINDOW_S)
        recent = Recent.of(last)
        some = self._samples[max(0, sample_count - int(4 * WINDOW_S)) : sample_count]
        if self._live is not None:
            ticks = self._live.ticks[max(0, tick_count - int(TICKS_S * _TICKS_PER_S) - _TICKS_PER_S) : tick_count]
            rates, samples = (rate_of(ticks), rate_of(ticks, WINDOW_S)), samples_of_window(some)
        else:
            rates = _rate(last), _rate_before(near, last)
            samples = [sample for sample in some if sample.time_s >= end_s - WINDOW_S - 0.5]
        window = window_of(recent, *rates, samples, pairs=bool(near and near[-1].pairs))
        lag = recent.lag.p99_ms if recent.lag is not None else None
        saturated = driver_saturated(began_since(near, end_s, SATURATED_S), recent)
        return replace(window, best_texts_per_s=self._best[interval_count]), saturated, lag


def _rate(intervals: Sequence[Interval]) -> Rate | None:
    if not intervals:
        return None
    duration_s = intervals[-1].end_s - intervals[0].start_s
    texts = sum(interval.answers.texts for interval in intervals)
    requests = sum(interval.answers.requests for interval in intervals)
    return Rate(texts / duration_s, requests / duration_s)


def _rate_before(near: Sequence[Interval], last: Sequence[Interval]) -> Rate | None:
    """Returns the rate of the previous window; None if the run is too short for one."""
    if not last:
        return None
    end_s = last[0].start_s
    before = [interval for interval in began_since(near, end_s, WINDOW_S) if interval.start_s < end_s]
    complete = bool(before) and before[-1].end_s - before[0].start_s >= _COMPLETE_SHARE * WINDOW_S
    return _rate(before) if complete else None


def _best(intervals: Sequence[Interval], steady_since_s: float) -> tuple[float | None, ...]:
    """Returns, for each number of intervals, the highest texts/s of a window that lies entirely after the warm-up."""
    best: list[float | None] = [None]
    for at, interval in enumerate(intervals):
        window = began_since(intervals[max(0, at - int(2 * WINDOW_S)) : at + 1], interval.end_s, WINDOW_S)
        rate = _rate(window) if interval.start_s >= steady_since_s + WINDOW_S else None
        best.append(_higher(best[-1], rate))
    return tuple(best)


def _best_of_ticks(intervals: Sequence[Interval], live: LiveRecord, steady_since_s: float) -> tuple[float | None, ...]:
    """As `_best`, with the rate that the ticks gave when the interval arrived."""
    best: list[float | None] = [None]
    for interval, known in zip(intervals, live.ticks_known, strict=True):
        ticks = live.ticks[max(0, known - int(WINDOW_S * _TICKS_PER_S) - _TICKS_PER_S) : known]
        rate = rate_of(ticks) if interval.start_s >= steady_since_s + WINDOW_S else None
        best.append(_higher(best[-1], rate))
    return tuple(best)


def _higher(best: float | None, rate: Rate | None) -> float | None:
    return best if rate is None else max(best or 0.0, rate.texts_per_s)
