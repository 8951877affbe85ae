"""Live metrics: a sliding window and chart points, from the load generator's intervals and the engine's counters.

Throughput is updated by ticks, ten times a second. Percentiles are updated by intervals, once a second, because they
come from merged histograms.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from console.analysis.steady_state import percentiles
from console.analysis.validity import SATURATED_S, Lag, cpu_saturated, lag_saturated, send_lag
from console.load.protocol import Interval, Tick
from console.model.durations import MAX_DURATION_S
from console.model.load import Percentiles, Point, Stages, Window
from engine.api import embed_pb2

WINDOW_S = 5.0
WARM_UP_S = 3.0
TICKS_S = 2 * WINDOW_S + 1
"""Time range of the ticks: a window and the one before it, with which it is compared."""
RING_S = 600.0
"""Time range of the charts."""
_EXTRA_INTERVALS = 600
"""Intervals kept in addition to the longest measurement, for ramp and warm-up."""
_SHORTEST_INTERVAL_S = 0.5
_SLACK_S = 0.05
"""Tolerance for the start of an interval."""
_SAMPLES_S = 2.5
"""Age of the engine's samples used for a chart point: two samples at one a second."""


@dataclass(frozen=True, slots=True)
class EngineSample:
    """Counters of one Watch frame. `time_s` is the session's."""

    time_s: float
    rss_bytes: int
    queued_items: int
    in_flight_requests: int
    cpu_s: float
    batches: int
    batch_items: int
    tokens: int
    padded_tokens: int


def engine_sample(frame: embed_pb2.Frame, time_s: float) -> EngineSample:
    counters = frame.counters
    return EngineSample(
        time_s=time_s,
        rss_bytes=frame.rss_bytes,
        queued_items=frame.queued_items,
        in_flight_requests=frame.in_flight_requests,
        cpu_s=frame.cpu_s,
        batches=counters.batches,
        batch_items=counters.batch_items,
        tokens=counters.tokens,
        padded_tokens=counters.padded_tokens,
    )


@dataclass(frozen=True, slots=True)
class Batches:
    """Mean sizes of the engine's forward passes between two samples."""

    mean_items: float | None = None
    mean_tokens: float | None = None
    padding_ratio: float | None = None


def batches_between(first: EngineSample, last: EngineSample) -> Batches:
    batches = last.batches - first.batches
    padded = last.padded_tokens - first.padded_tokens
    if batches <= 0:  # nothing ran, or the engine was restarted in between
        return Batches()
    return Batches(
        mean_items=(last.batch_items - first.batch_items) / batches,
        mean_tokens=padded / batches,
        padding_ratio=1 - (last.tokens - first.tokens) / padded if padded > 0 else None,
    )


def mean_stages(intervals: Sequence[Interval]) -> Stages | None:
    """Returns the means over all requests of the intervals; None without requests."""
    requests = sum(interval.answers.requests for interval in intervals)
    if not requests:
        return None

    def mean(name: str) -> float:
        return sum(i.stages_ms.get(name, 0.0) * i.answers.requests for i in intervals) / requests

    return Stages(mean("queue"), mean("tokenize"), mean("infer"), mean("serialize"))


@dataclass(frozen=True, slots=True)
class Recent:
    """Metrics of the intervals of the last seconds."""

    latency: Percentiles = field(default_factory=Percentiles)
    stages: Stages | None = None
    lag: Lag | None = None

    @classmethod
    def of(cls, intervals: Sequence[Interval]) -> "Recent":
        """Computes the metrics from merged histograms."""
        latency = percentiles([part.answers for part in intervals], certified=False)
        return cls(latency, mean_stages(intervals), send_lag(intervals))


@dataclass(frozen=True, slots=True)
class Rate:
    """Answers a second over a period."""

    texts_per_s: float
    requests_per_s: float


def began_since(
    intervals: Iterable[Interval], end_s: float, length_s: float, load_start_s: float = 0.0
) -> list[Interval]:
    """Returns the intervals that began in the last `length_s` before `end_s`, and not before the load did."""
    begin_s = max(end_s - length_s, load_start_s) - _SLACK_S
    return [interval for interval in intervals if interval.start_s >= begin_s]


def rate_of(ticks: Sequence[Tick], ago_s: float = 0.0) -> Rate | None:
    """Returns the rate of the window that ends `ago_s` before the newest tick.

    Returns None without two ticks, or if the ticks of a past window (`ago_s` > 0) do not cover 80 % of it.
    """
    if len(ticks) < 2:
        return None
    end_s = ticks[-1].time_s - ago_s
    inside = [tick for tick in ticks if end_s - WINDOW_S - 0.05 <= tick.time_s <= end_s + 0.05]
    if len(inside) < 2 or (ago_s and inside[-1].time_s - inside[0].time_s < 0.8 * WINDOW_S):
        return None
    first, last = inside[0], inside[-1]
    duration_s = last.time_s - first.time_s
    return Rate((last.texts - first.texts) / duration_s, (last.requests - first.requests) / duration_s)


def samples_of_window(samples: Sequence[EngineSample]) -> list[EngineSample]:
    """Returns the samples of the window that ends with the newest one."""
    return [sample for sample in samples if sample.time_s >= samples[-1].time_s - WINDOW_S - 0.5]


def driver_saturated(last: Sequence[Interval], recent: Recent) -> bool:
    """Returns whether the load generator is the bottleneck, by its CPU use or by an open loop's send lag.

    `last`: the intervals of the last SATURATED_S; fewer after the start of the load.
    """
    long_enough = sum(interval.duration_s for interval in last) >= SATURATED_S - _SHORTEST_INTERVAL_S
    return (long_enough and cpu_saturated(last)) or lag_saturated(recent.lag, recent.latency)


def window_of(
    recent: Recent, rate: Rate | None, before: Rate | None, samples: Sequence[EngineSample], *, pairs: bool
) -> Window:
    """Returns the current window. `samples`: the engine's counters in it, oldest first; `before`: the previous rate.

    The caller sets `best_texts_per_s`, because it knows when the warm-up ended.
    """
    batches = batches_between(samples[0], samples[-1]) if rate is not None and samples else Batches()
    latency, stages = recent.latency, recent.stages
    gap_ms = None
    if latency.mean_ms is not None and stages is not None:
        server_ms = stages.queue_ms + stages.tokenize_ms + stages.infer_ms + stages.serialize_ms
        # a request split into several batches reports its longest queueing and longest pass, which may overlap
        gap_ms = latency.mean_ms - server_ms if latency.mean_ms >= server_ms else None
    return Window(
        window_s=WINDOW_S,
        texts_per_s=rate.texts_per_s if rate else None,
        pairs_per_s=rate.texts_per_s / 2 if rate and pairs else None,
        requests_per_s=rate.requests_per_s if rate else None,
        trend=rate.texts_per_s / before.texts_per_s - 1 if rate and before and before.texts_per_s else None,
        latency=latency,
        stages=stages,
        client_server_gap_ms=gap_ms,
        mean_batch_items=batches.mean_items,
        mean_batch_tokens=batches.mean_tokens,
        padding_ratio=batches.padding_ratio,
    )


def point_of(interval: Interval, samples: Sequence[EngineSample]) -> Point | None:
    """Returns the chart point of an interval; None if it is too short. `samples`: all until its end, oldest first."""
    if interval.duration_s < _SHORTEST_INTERVAL_S:
        return None
    answers = interval.answers
    own = percentiles([answers], certified=False)
    first = len(samples)
    while first > 0 and samples[first - 1].time_s >= interval.end_s - _SAMPLES_S:
        first -= 1
    latest = samples[first:]
    batches = batches_between(latest[0], latest[-1]) if latest else Batches()
    return Point(
        time_s=interval.end_s,
        texts_per_s=answers.texts / interval.duration_s if answers.requests else None,
        requests_per_s=answers.requests / interval.duration_s if answers.requests else None,
        p50_ms=own.p50_ms,
        p95_ms=own.p95_ms,
        p99_ms=own.p99_ms,
        n=answers.requests,
        epoch=max(map(int, interval.epochs), default=0),
        queued_items=latest[-1].queued_items if latest else None,
        mean_batch_items=batches.mean_items,
        in_flight_requests=interval.in_flight,
    )


class LiveMetrics:
    """The measurements of one session: intervals, engine samples and chart points. Times are the session's."""

    def __init__(self) -> None:
        self.intervals: deque[Interval] = deque(maxlen=int(MAX_DURATION_S) + _EXTRA_INTERVALS)
        self.samples: deque[EngineSample] = deque(maxlen=int(MAX_DURATION_S) + _EXTRA_INTERVALS)
        self.points: tuple[Point, ...] = ()
        self.points_version = 0
        self.ticks: deque[Tick] = deque()
        """Those of the last TICKS_S of the current load."""
        self._load_start_s = 0.0
        self._best_since_s = WARM_UP_S + WINDOW_S
        self._best: float | None = None
        self._recent = Recent()

    def load_started(self, time_s: float, ramp_s: float = 0.0) -> None:
        """Resets the window for a new load, or for a changed one: no figure mixes both."""
        self._load_start_s = time_s
        self._best_since_s = time_s + ramp_s + WARM_UP_S + WINDOW_S
        self._best = None
        self.load_stopped()

    def load_stopped(self) -> None:
        self.ticks.clear()
        self._recent = Recent()

    def tick(self, tick: Tick) -> None:
        """Adds a tick. `tick.time_s` is the session's time."""
        self.ticks.append(tick)
        while self.ticks and self.ticks[0].time_s < tick.time_s - TICKS_S:
            self.ticks.popleft()

    def sample(self, sample: EngineSample) -> None:
        self.samples.append(sample)

    def interval(self, interval: Interval) -> None:
        """Adds an interval. Its times are the session's."""
        self.intervals.append(interval)
        self._recent = Recent.of(self.recent(interval.end_s))
        if (point := point_of(interval, tuple(self.samples))) is not None:
            self._add_point(point)
        rate = rate_of(self.ticks)
        if rate is not None and interval.start_s >= self._best_since_s:
            self._best = max(self._best or 0.0, rate.texts_per_s)

    def gap(self, time_s: float) -> None:
        """Adds a second without load, drawn as a gap."""
        if self.points and time_s > self.points[-1].time_s:
            sample = self.samples[-1] if self.samples else None
            self._add_point(Point(time_s, queued_items=sample.queued_items if sample else None))

    def recent(self, end_s: float, length_s: float = WINDOW_S) -> list[Interval]:
        """Returns the current load's intervals that began in the last `length_s` before `end_s`."""
        return began_since(self.intervals, end_s, length_s, self._load_start_s)

    def saturated(self) -> bool:
        """Returns whether the load generator is the bottleneck."""
        return bool(self.intervals) and driver_saturated(
            self.recent(self.intervals[-1].end_s, SATURATED_S), self._recent
        )

    def lag_p99_ms(self) -> float | None:
        """Returns the p99 of an open loop's send lag over the last seconds; None without one."""
        return self._recent.lag.p99_ms if self._recent.lag is not None else None

    def window(self) -> Window:
        """Returns the current window."""
        recent = samples_of_window(self.samples)
        pairs = bool(self.intervals and self.intervals[-1].pairs)
        rates = rate_of(self.ticks), rate_of(self.ticks, WINDOW_S)
        return replace(window_of(self._recent, *rates, recent, pairs=pairs), best_texts_per_s=self._best)

    def _add_point(self, point: Point) -> None:
        self.points = (*self.points[-int(RING_S) + 1 :], point)
        self.points_version += 1
