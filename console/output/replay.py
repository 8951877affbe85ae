"""The replay of a stored run: its frames at any position, and the position in it. Pure functions.

The figures are computed from the stored intervals' histograms by the rules of the live window, so a replay shows what
was measured. Nothing is interpolated: figures and charts change when an interval ends, and the throughput of a run
recorded from Live with each tick.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import Any

from console.load.protocol import Interval
from console.measure.spec import stored_spec
from console.model.engine import Batching, Deployment, Engine, EngineState, Machine, ModelCard, Notice
from console.model.errors import CommandRefused
from console.model.frame import Frame, LogLine
from console.model.load import Load
from console.model.modes import REPLAY_SPEEDS
from console.model.switch import Marker, SwitchDelta
from console.output.replay_window import Windows
from console.session.live_metrics import RING_S, EngineSample
from console.store.live import SwitchRecord
from console.store.opened_run import OpenedRun

SEEK_S = 5.0
"""Seconds of the run by which a key seeks."""
_DAY_S = 86_400


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
        shown_s = tuple(one.end_s for one in run.intervals) if run.live is None else run.live.arrived_s
        self.length_s = shown_s[-1]
        self._intervals = run.intervals
        self._samples = run.samples
        self._points = opened.points
        self._capabilities = run.capabilities
        spec = stored_spec(run)
        self._steady_since_s = spec.warm_up_s + spec.load.ramp_s
        self._engines = _engines(opened)
        self._loads = _loads(run.intervals, Load(running=True, spec=spec.load))
        self._live = run.live
        self._windows = Windows(run.intervals, shown_s, run.samples, run.live, self._steady_since_s)
        self._log = _log(run.events)
        self._markers = _markers(run.intervals) if run.live is None else run.live.switches.markers
        self._tick_times_s = [tick.time_s for tick in run.live.ticks] if run.live is not None else []
        self._shown_s = shown_s
        self._sample_times_s = [sample.time_s for sample in run.samples]
        shown_of = dict(zip((one.end_s for one in run.intervals), shown_s, strict=True))
        self._point_times_s = [shown_of.get(point.time_s, point.time_s) for point in opened.points]

    def at(self, position_s: float) -> Frame:
        """Returns the frame that the Live screen would have shown `position_s` seconds after the start of the load."""
        intervals = bisect_right(self._shown_s, position_s)
        samples = bisect_right(self._sample_times_s, position_s)
        points = bisect_right(self._point_times_s, position_s)
        window, saturated, lag_p99_ms = self._windows.at(position_s)
        load = replace(
            self._loads[intervals],
            elapsed_s=position_s,
            warming_up=position_s < self._steady_since_s,
            saturated=saturated,
            lag_p99_ms=lag_p99_ms,
        )
        load = self._ticked(load, position_s)
        engine = next(engine for since_s, engine in reversed(self._engines) if since_s <= max(position_s, 0.0))
        log = tuple(line for time_s, line in self._log if time_s <= position_s)
        return Frame(
            now_s=position_s,
            engine=_with_samples(engine, self._samples[max(0, samples - 2) : samples], load),
            load=load,
            window=window,
            points=self._points[max(0, points - int(RING_S)) : points],
            points_version=points,
            markers=tuple(marker for marker in self._markers if marker.time_s <= position_s),
            deltas=self._deltas(position_s),
            capabilities=self._capabilities,
            log=log,
            log_version=len(log),
        )

    def _ticked(self, load: Load, position_s: float) -> Load:
        """Returns the load with the counts of the newest tick, if the run was recorded from Live."""
        count = bisect_right(self._tick_times_s, position_s)
        if self._live is None or not count:
            return load
        tick = self._live.ticks[count - 1]
        return replace(load, requests=tick.requests, texts=tick.texts, retries=tick.retries, in_flight=tick.in_flight)

    def _deltas(self, position_s: float) -> tuple[SwitchDelta, ...]:
        """Returns the switch deltas as the screen showed them; at the end, as they settled."""
        if self._live is None:
            return ()
        if position_s >= self.length_s:
            return self._live.switches.final
        shown = takewhile(lambda version: version.at_s <= position_s, self._live.switches.deltas)
        return SwitchRecord(tuple(shown)).final


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


def _engines(opened: OpenedRun) -> list[tuple[float, Engine]]:
    """Returns the engine's constant state from each time on: that of each segment, if the run has segments."""
    engine, live = _engine(opened), opened.run.live
    if live is None or not live.segments:
        return [(0.0, engine)]
    states = [
        replace(
            engine, requested=one.requested, effective=one.effective, batching=one.batching, epoch=one.epoch,
            warnings=one.warnings,
        )
        for one in live.segments
    ]  # fmt: skip
    return [(0.0, states[0]), *((one.start_s, state) for one, state in zip(live.segments, states, strict=True))]


def _engine(opened: OpenedRun) -> Engine:
    """Returns the state of the engine that is constant during the run, without an address or a process."""
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
    """Whether the line is about the start of the load, or about the change that began a recorded run."""
    return source == "driver" and text.startswith(("load started", "load changed to"))


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
