"""The replay of a stored run: its frames at any position, and the position in it. Pure functions.

The figures are computed from the stored intervals' histograms by the rules of the live window, so a replay shows what
was measured. Nothing is interpolated: figures and charts change when an interval ends.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from console.analysis.validity import SATURATED_S
from console.load.protocol import Interval
from console.measure.spec import spec_of
from console.model.engine import Batching, Deployment, Engine, EngineState, Machine, ModelCard, Notice
from console.model.errors import CommandRefused
from console.model.frame import Frame, LogLine
from console.model.load import Load, Window
from console.model.modes import REPLAY_SPEEDS
from console.model.switch import Marker
from console.session.live_metrics import (
    RING_S,
    WINDOW_S,
    EngineSample,
    Rate,
    Recent,
    began_since,
    driver_saturated,
    window_of,
)
from console.store.opened_run import OpenedRun

SEEK_S = 5.0
"""Seconds of the run by which a key seeks."""
_DAY_S = 86_400
_COMPLETE_SHARE = 0.8
"""Share of WINDOW_S that the previous window must cover to be compared with; a rule."""

_CACHED_WINDOWS = 4
"""Windows whose figures are cached: frames come ten times as often as intervals."""


@dataclass(frozen=True, slots=True)
class Playback:
    """Position and speed of a replay. Seconds are those of the run, from the start of its load."""

    length_s: float
    speed: float = REPLAY_SPEEDS[0]
    position_s: float = 0.0
    paused: bool = False

    @property
    def ended(self) -> bool:
        return self.position_s >= self.length_s

    def advanced(self, elapsed_s: float) -> "Playback":
        """Returns the playback after `elapsed_s` seconds of wall-clock time."""
        return self if self.paused or self.ended else self.sought(elapsed_s * self.speed)

    def sought(self, by_s: float) -> "Playback":
        """Returns the playback moved by `by_s` seconds of the run, within the run."""
        return replace(self, position_s=min(max(self.position_s + by_s, 0.0), self.length_s))

    def toggled(self) -> "Playback":
        """Returns the playback paused or resumed; at the end, restarted."""
        if self.ended:
            return replace(self, position_s=0.0, paused=False)
        return replace(self, paused=not self.paused)

    def faster(self) -> "Playback":
        """Returns the playback at the next higher speed of REPLAY_SPEEDS, if there is one."""
        return replace(self, speed=next((speed for speed in REPLAY_SPEEDS if speed > self.speed), REPLAY_SPEEDS[-1]))

    def slower(self) -> "Playback":
        """Returns the playback at the next lower speed of REPLAY_SPEEDS, if there is one."""
        return replace(
            self, speed=next((speed for speed in reversed(REPLAY_SPEEDS) if speed < self.speed), REPLAY_SPEEDS[0])
        )


class Replay:
    """The frames of a run. Raises CommandRefused for a run without intervals.

    Everything whose cost grows with the run is computed once, here; a frame merges the histograms of one window.
    """

    def __init__(self, opened: OpenedRun) -> None:
        run = opened.run
        if not run.intervals:
            raise CommandRefused(
                f"{run.row.run_id} has no stored interval: there is nothing to replay, choose another run"
            )
        self.run_id = run.row.run_id
        self.length_s = run.intervals[-1].end_s
        self._intervals = run.intervals
        self._samples = run.samples
        self._points = opened.points
        self._capabilities = run.capabilities
        spec = spec_of(run)
        self._steady_since_s = spec.warm_up_s + spec.load.ramp_s
        self._engine = _engine(opened)
        self._loads = _loads(run.intervals, Load(running=True, spec=spec.load))
        self._best = _best(run.intervals, self._steady_since_s)
        self._log = _log(run.events)
        self._markers = _markers(run.intervals)
        self._ends = [interval.end_s for interval in run.intervals]
        self._sample_times_s = [sample.time_s for sample in run.samples]
        self._point_times_s = [point.time_s for point in opened.points]
        self._figures = lru_cache(maxsize=_CACHED_WINDOWS)(self._figures_after)

    def at(self, position_s: float) -> Frame:
        """Returns the frame that the Live screen would have shown `position_s` seconds after the start of the load."""
        intervals = bisect_right(self._ends, position_s)
        samples = bisect_right(self._sample_times_s, position_s)
        points = bisect_right(self._point_times_s, position_s)
        window, saturated, lag_p99_ms = self._figures(intervals, samples)
        load = replace(
            self._loads[intervals],
            elapsed_s=position_s,
            warming_up=position_s < self._steady_since_s,
            saturated=saturated,
            lag_p99_ms=lag_p99_ms,
        )
        log = tuple(line for time_s, line in self._log if time_s <= position_s)
        return Frame(
            now_s=position_s,
            engine=_with_samples(self._engine, self._samples[max(0, samples - 2) : samples], load),
            load=load,
            window=window,
            points=self._points[max(0, points - int(RING_S)) : points],
            points_version=points,
            markers=tuple(marker for marker in self._markers if marker.time_s <= position_s),
            capabilities=self._capabilities,
            log=log,
            log_version=len(log),
        )

    def _figures_after(self, interval_count: int, sample_count: int) -> tuple[Window, bool, float | None]:
        """Returns the window after so many intervals and engine samples, and the load generator's state.

        That state is whether the load generator was saturated, and its p99 lag in ms (None if unknown).
        """
        if not interval_count:
            return Window(window_s=WINDOW_S), False, None
        newest = self._intervals[interval_count - 1]
        near = self._intervals[max(0, interval_count - int(2 * SATURATED_S)) : interval_count]
        last = began_since(near, newest.end_s, WINDOW_S)
        recent = Recent.of(last)
        since_s = newest.end_s - WINDOW_S - 0.5
        samples = [
            sample
            for sample in self._samples[max(0, sample_count - int(2 * WINDOW_S)) : sample_count]
            if sample.time_s >= since_s
        ]
        window = window_of(recent, _rate(last), _rate_before(near, last), samples, pairs=bool(newest.pairs))
        lag = recent.lag.p99_ms if recent.lag is not None else None
        saturated = driver_saturated(began_since(near, newest.end_s, SATURATED_S), recent)
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
        best.append(best[-1] if rate is None else max(best[-1] or 0.0, rate.texts_per_s))
    return tuple(best)


def _loads(intervals: Sequence[Interval], first: Load) -> tuple[Load, ...]:
    """Returns, for each number of intervals, the counts of the load generator."""
    loads = [first]
    for interval in intervals:
        before = loads[-1]
        errors = dict(before.errors)
        for code, count in interval.errors.items():
            errors[code] = errors.get(code, 0) + count
        loads.append(
            replace(
                before,
                requests=before.requests + interval.answers.requests,
                texts=before.texts + interval.answers.texts,
                errors=errors,
                retries=before.retries + interval.retries,
                truncated_texts=before.truncated_texts + interval.truncated,
                dropped=before.dropped + interval.dropped,
                in_flight=interval.in_flight,
                cpu_cores=interval.cpu_cores,
            )
        )
    return tuple(loads)


def _engine(opened: OpenedRun) -> Engine:
    """Returns the part of the engine's state that is constant during the run, without an address or a process."""
    row, facts = opened.run.row, opened.run.environment
    model = facts.get("model") or {}
    return Engine(
        state=EngineState.RUNNING,
        requested=row.requested,
        effective=row.effective,
        warnings=tuple(_notice(warning) for warning in opened.report.get("warnings") or ()),
        model=ModelCard(id=row.model or str(model.get("id") or "")),
        batching=Batching(row.max_batch_tokens, 0, row.max_wait_ms, bool(row.coalesce)),
        cores=int(facts.get("cores") or 0),
        cpu_model=str(facts.get("cpu_model") or ""),
        machine=Machine(host_name=str(facts.get("host_name") or "")),
    )


def _notice(warning: Mapping[str, Any]) -> Notice:
    return Notice(*(str(warning.get(name) or "") for name in ("code", "message", "fix")))


def _with_samples(engine: Engine, samples: Sequence[EngineSample], load: Load) -> Engine:
    """Returns the engine with the counters of the last sample, and the CPU between the last two samples."""
    if not samples:
        return replace(engine, in_flight_requests=load.in_flight)
    newest = samples[-1]
    cores = [
        (two.cpu_s - one.cpu_s) / (two.time_s - one.time_s) for one, two in pairwise(samples) if two.time_s > one.time_s
    ]
    return replace(
        engine,
        rss_bytes=newest.rss_bytes,
        cpu_cores=max(cores[-1], 0.0) if cores else 0.0,
        queued_items=newest.queued_items,
        in_flight_requests=newest.in_flight_requests,
    )


def _log(events: Sequence[tuple[str, str, str, str]]) -> tuple[tuple[float, LogLine], ...]:
    """Returns each event with its time in seconds of the run.

    Events carry only the time of day; the event of the load's start is second 0. Earlier events, and all events of a
    run without such an event, are at second 0 too.
    """
    clocks = [_seconds_of_day(wall_time) for wall_time, *_ in events]
    started = next((at for at, (_, source, _, text) in enumerate(events) if _starts_a_load(source, text)), None)
    zero = clocks[started] if started is not None else None
    lines = []
    for at, (wall_time, source, level, text) in enumerate(events):
        clock = clocks[at]
        known = zero is not None and clock is not None and started is not None and at >= started
        time_s = float((clock - zero) % _DAY_S) if known and clock is not None and zero is not None else 0.0
        lines.append((time_s, LogLine(at + 1, wall_time, source, level, text)))
    return tuple(lines)


def _starts_a_load(source: str, text: str) -> bool:
    return source == "driver" and text.startswith("load started")


def _seconds_of_day(wall_time: str) -> int | None:
    try:
        hours, minutes, seconds = map(int, wall_time.split(":"))
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds


def _markers(intervals: Sequence[Interval]) -> tuple[Marker, ...]:
    """Returns a marker where another epoch began to respond: the engine was switched during the run."""
    markers: list[Marker] = []
    before: tuple[int, str] | None = None
    for interval in intervals:
        if not interval.epochs:
            continue
        epoch = max(map(int, interval.epochs))
        cell = _cell(interval.deployments.get(str(epoch)) or {})
        if before is not None and epoch > before[0]:
            markers.append(Marker(interval.start_s, len(markers) + 1, f"{before[1]} → {cell}"))
        before = (epoch, cell)
    return tuple(markers)


def _cell(deployment: Mapping[str, Any]) -> str:
    backend, precision, recipe = (str(deployment.get(name) or "") for name in ("backend", "precision", "recipe"))
    return Deployment(backend, precision, recipe).cell
