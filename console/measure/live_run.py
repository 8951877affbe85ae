"""One load of Live as a run: what the store gets of it while it is measured, and its result. Reads the session only."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

from console.load.protocol import Interval
from console.measure.certification import steady
from console.measure.environment import environment
from console.measure.measurement import summarise
from console.measure.recorder import KEPT_LEVELS, newest_sample
from console.measure.result import as_json
from console.measure.run import fidelity_of
from console.measure.run_writer import RunEnd
from console.measure.segments import SegmentTracker, main_segment
from console.measure.spec import RunSpec, segment_spec
from console.model.engine import CapabilityCell, Engine, EngineState
from console.model.frame import LogLine
from console.model.recording import LIVE, Segment
from console.session.live_metrics import TICKS_S, WARM_UP_S, EngineSample
from console.session.session import Session
from console.store.live import DeltaVersion, SwitchRecord, live_columns
from console.store.rows import Row, interval_row, shift
from console.store.write import RunStart

if TYPE_CHECKING:
    from console.model.switch import SwitchDelta


@dataclass(frozen=True, slots=True)
class RunBeginning:
    """What is known of the run at its first interval."""

    run_id: str
    started_at: str
    engine: Engine
    capabilities: Sequence[CapabilityCell]
    spec: RunSpec

    def as_start(self) -> RunStart:
        """Returns the start for the store. May run git; call it in a thread."""
        return RunStart(
            run_id=self.run_id,
            started_at=self.started_at,
            requested=self.engine.requested,
            effective=self.engine.effective,
            batching=self.engine.batching,
            spec=asdict(self.spec),
            environment=environment(self.engine),
            capabilities=self.capabilities,
            origin=LIVE,
        )


@dataclass(frozen=True, slots=True)
class RunResult:
    """Everything from which the end of a run is computed."""

    run_id: str
    ended_at: str
    spec: RunSpec
    segment: Segment
    """The main segment; the figures come from it."""
    engine: Engine
    """The engine at the end of that segment."""
    intervals: tuple[Interval, ...]
    """Those of the run; times start with the load."""
    samples: tuple[EngineSample, ...]
    fidelity: float | None
    failure: str
    lines: tuple[LogLine, ...]

    def as_end(self) -> RunEnd:
        """Computes the report. Its cost grows with the run; call it in a thread."""
        spec = segment_spec(self.spec, self.segment)
        measured = summarise(spec, self.engine, steady(self.intervals, 0.0, spec), self.samples, False, self.failure)
        report = as_json(replace(measured, run_id=self.run_id, fidelity=self.fidelity))
        return RunEnd(
            self.ended_at,
            {**report, "origin": LIVE},
            self.lines,
            self.engine.requested,
            self.engine.effective,
            self.engine.batching,
        )


class LiveRun:
    """A load that runs. Call its methods in the event loop's thread."""

    def __init__(self, session: Session, run_id: str, started_at: str, started_s: float) -> None:
        """`started_s`: the load's start, in the session's time. The load is that of the session's frame."""
        frame = session.frame
        self.run_id = run_id
        self.started_at = started_at
        self.began = False
        """Whether an interval has arrived."""
        self.spec = RunSpec(frame.load.spec, duration_s=0.0, warm_up_s=WARM_UP_S)
        self._session = session
        self._started_s = started_s
        self._steady_s = frame.load.spec.ramp_s + WARM_UP_S
        self._tracker = SegmentTracker(self._steady_s)
        self._engines: dict[int, Engine] = {}
        self._counted = (frame.load.requests, frame.load.texts, frame.load.retries)
        self._ticks_until_s = started_s
        self._samples_until_s = started_s - TICKS_S
        self._first_interval_s = math.inf
        self._ended_s: float | None = None
        self._switches_before = {delta.ordinal for delta in frame.deltas}
        self._deltas: dict[int, SwitchDelta] = {}
        self._markers = frame.markers
        self._log_from = max(frame.log_version, 1)  # the newest line says that the load started
        self._lines: list[LogLine] = []
        self._knows_capabilities = False
        self._observe(started_s)

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self._tracker.segments

    def beginning(self) -> RunBeginning:
        """Returns the beginning of the run, and marks it as begun."""
        frame = self._session.frame
        self.began, self._knows_capabilities = True, bool(frame.capabilities)
        return RunBeginning(self.run_id, self.started_at, frame.engine, frame.capabilities, self.spec)

    def late_capabilities(self) -> Sequence[CapabilityCell]:
        """Returns the capability matrix once, if it was not known at the beginning."""
        cells = self._session.frame.capabilities
        if self._knows_capabilities or not cells:
            return ()
        self._knows_capabilities = True
        return cells

    def take_interval(self) -> Row:
        """Returns the row of the session's newest interval, with the ticks and samples that came with it."""
        session = self._session
        interval = session.intervals[-1]
        self._first_interval_s = min(self._first_interval_s, interval.start_s)
        self._observe(interval.end_s, interval.start_s)
        self._collect_lines()
        samples = session.samples
        row = interval_row(interval, newest_sample(samples, interval.end_s), self._started_s, self._steady_s)
        ticks = [tick for tick in session.ticks if tick.time_s > self._ticks_until_s]
        new = _after(samples, self._samples_until_s)
        self._ticks_until_s = ticks[-1].time_s if ticks else self._ticks_until_s
        self._samples_until_s = new[-1].time_s if new else self._samples_until_s
        requests, texts, retries = self._counted
        own = [
            replace(
                tick, time_s=tick.time_s - self._started_s, requests=tick.requests - requests,
                texts=tick.texts - texts, retries=tick.retries - retries,
            )
            for tick in ticks
        ]  # fmt: skip
        arrived_s = session.now_s - self._started_s
        return row | live_columns(arrived_s, own, [replace(one, time_s=one.time_s - self._started_s) for one in new])

    def conditions_changed(self, time_s: float) -> None:
        self._observe(time_s)

    def cut_over(self, time_s: float) -> None:
        self._tracker.cut_over(time_s - self._started_s)

    def take_switches(self) -> SwitchRecord:
        """Returns the markers and the versions of this run's deltas that are new since the last call."""
        frame = self._session.frame
        at_s = (frame.now_s if self._ended_s is None else self._ended_s) - self._started_s
        versions = []
        for delta in frame.deltas:
            if delta.ordinal in self._switches_before or self._deltas.get(delta.ordinal) == delta:
                continue
            if self._ended_s is not None and delta.ordinal not in self._deltas:
                continue  # a switch after the run
            self._deltas[delta.ordinal] = delta
            versions.append(DeltaVersion(at_s, replace(delta, time_s=delta.time_s - self._started_s)))
        markers = [one for one in frame.markers if one not in self._markers] if self._ended_s is None else []
        self._markers = frame.markers
        return SwitchRecord(
            tuple(versions), tuple(replace(one, time_s=one.time_s - self._started_s) for one in markers)
        )

    @property
    def settled(self) -> bool:
        """Whether no delta of this run can change any more, except for its fidelity."""
        return all(delta.settled for delta in self._deltas.values())

    def end(self, ended_at: str, failure: str) -> RunResult:
        """Ends the run with what was measured so far. `failure`: why the load did not stop in order, or empty."""
        session = self._session
        frame = session.frame
        self._collect_lines()
        own = [one for one in session.intervals if one.start_s >= self._first_interval_s]
        length_s = max(own[-1].end_s if own else 0.0, self._started_s) - self._started_s
        self._ended_s = session.now_s
        self._tracker.end(frame.engine, length_s)
        segment = main_segment(self.segments, length_s)
        engine = self._engines.get(segment.ordinal, frame.engine)
        return RunResult(
            run_id=self.run_id,
            ended_at=ended_at,
            spec=self.spec,
            segment=segment,
            engine=engine,
            intervals=tuple(shift(one, -self._started_s) for one in own),
            samples=tuple(replace(one, time_s=one.time_s - self._started_s) for one in session.samples),
            fidelity=fidelity_of(engine.effective, frame.capabilities),
            failure=failure,
            lines=tuple(self._lines),
        )

    def _observe(self, time_s: float, since_s: float | None = None) -> None:
        engine = self._session.frame.engine
        earlier_s = None if since_s is None else since_s - self._started_s
        self._tracker.observe(engine, time_s - self._started_s, earlier_s)
        if engine.state is EngineState.RUNNING:
            self._engines[self.segments[-1].ordinal] = engine

    def _collect_lines(self) -> None:
        """Keeps the lines of the log that are stored with the run; the session's ring drops old ones."""
        log = self._session.frame.log
        self._lines += [line for line in log if line.sequence >= self._log_from and line.level in KEPT_LEVELS]
        self._log_from = log[-1].sequence + 1 if log else self._log_from


def _after(samples: Sequence[EngineSample], time_s: float) -> list[EngineSample]:
    """Returns the samples after `time_s`, oldest first. Reads from the end."""
    newer = list(takewhile(lambda sample: sample.time_s > time_s, reversed(samples)))
    return newer[::-1]
