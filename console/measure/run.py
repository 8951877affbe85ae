"""One measured run: a load on an engine for a while, warm-up cut off, and what may be said of it."""

import asyncio
import math
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import takewhile
from typing import Protocol

from console.analysis.bottleneck import Bottleneck, ObservedLoad, find_bottleneck
from console.analysis.steady_state import (
    WINDOW_MIN_REQUESTS,
    Judgement,
    Rates,
    judge_p95,
    judge_throughput,
    percentiles,
    rates,
    windows,
)
from console.analysis.validity import (
    Lag,
    check_littles_law,
    cpu_saturated,
    duration_needed_s,
    lag_saturated,
    send_lag,
)
from console.load.protocol import Interval
from console.measure.cleanup import loaded
from console.measure.driver_ceiling import Ceiling
from console.model.engine import Engine, EngineState
from console.model.frame import Frame
from console.model.load import P95_FLOOR, LoadSpec, Percentiles, Stages
from console.session.live_metrics import Batches, EngineSample, batches_between, mean_stages
from console.session.session import Session
from console.store.read import StoredRun

_POLL_S = 0.1

_SLACK_S = 0.05
"""An interval may be cut a few ms off its second."""

_SHORTEST_S = 0.5
"""What is shorter is the rest of a load that ended, not an interval."""

WINDOWS_OF_A_RUN = 5


class Verdict(StrEnum):
    """Of a whole run; the first that applies, from the last to the first."""

    OK = "ok"
    UNSTABLE = "unstable"
    CLIENT_BOUND = "client_bound"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What to measure."""

    load: LoadSpec
    duration_s: float = 10.0
    warm_up_s: float = 3.0
    slo_p95_ms: float | None = None
    at_most_s: float | None = None
    """Measure on beyond `duration_s` until the figures are certified, but no longer than this."""

    @property
    def longest_s(self) -> float:
        return self.at_most_s or self.duration_s


@dataclass(frozen=True, slots=True)
class Measurement:
    """A finished (or interrupted) run."""

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
    """The driver was the bottleneck: its CPU, or in an open loop its send lag."""
    errors: dict[str, int]
    retries: int
    truncated_texts: int
    interrupted: bool
    little: Judgement = field(default_factory=lambda: Judgement(True, "not judged"))
    lag: Lag | None = None
    """Open loop: how late requests were sent."""
    dropped: int = 0
    """Open loop: arrivals that were not sent."""
    engine_cpu_cores: float | None = None
    ceiling: Ceiling | None = None
    """What the load driver could do here at most, where that is known."""
    fidelity: float | None = None
    """Mean cosine to fp32 of the cell that ran, as the engine last measured it."""
    failure: str = ""
    """Why there is nothing (or less than asked) to report; empty when it ran to its end."""

    @property
    def verdict(self) -> Verdict:
        if self.failure:
            return Verdict.FAILED
        if self.saturated:
            return Verdict.CLIENT_BOUND
        return Verdict.UNSTABLE if self.unsettled else Verdict.OK

    @property
    def unsettled(self) -> dict[str, Judgement]:
        """The figures that were not steady, by name. p95 is watched where an SLO asks for it."""
        watched = {"throughput": self.throughput_judgement, "requests in flight": self.little}
        if self.spec.load.is_open:  # an engine that does not keep up explains the rest
            watched = dict(reversed(watched.items()))
        if self.spec.slo_p95_ms is not None:
            watched["p95"] = self.p95_judgement
        return {name: judgement for name, judgement in watched.items() if not judgement.stable}

    @property
    def duration_needed_s(self) -> int | None:
        """What `--duration` would do, where this one was too short to judge; None where it was not."""
        short = {name: judgement for name, judgement in self.unsettled.items() if judgement.short}
        if not short or not self.latency.n:
            return None
        window_requests = P95_FLOOR if "p95" in short else WINDOW_MIN_REQUESTS
        answered_per_s = self.latency.n / self.duration_s
        return max(duration_needed_s(answered_per_s, window_requests), math.ceil(self.duration_s) + 1)

    @property
    def bottleneck(self) -> Bottleneck | None:
        """What limited it; None where nothing was measured."""
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
        """The SLO was asked for and p95 is over it. A p95 below its floor of n cannot prove that it was met."""
        slo_ms = self.spec.slo_p95_ms
        return slo_ms is not None and (self.latency.p95_ms is None or self.latency.p95_ms > slo_ms)


class RunObserver(Protocol):
    """Is told of a run while it goes on: what writes it into the store."""

    def began(self, run_id: str, session: Session, started_s: float) -> None:
        """The load runs since `started_s`."""
        ...

    def heard(self, session: Session) -> None:
        """The session may have new intervals."""
        ...


def new_run_id() -> str:
    """By the time it began, and by chance."""
    return f"r-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


async def run(
    session: Session,
    spec: RunSpec,
    progress: Callable[[Frame, float | None], None],
    interrupted: asyncio.Event,
    observer: RunObserver | None = None,
) -> Measurement:
    """Waits for the engine, loads it, measures, stops the load. Raises CommandRefused for a load it cannot carry.

    The load is off afterwards, also where `progress` or the observer raises, and where the caller is cancelled.
    `progress` gets the newest frame ten times a second, and the seconds left once the load runs.
    """
    run_id = new_run_id()
    while not interrupted.is_set() and session.frame.engine.state in (EngineState.STARTING, EngineState.STOPPED):
        progress(session.frame, None)
        try:
            async with asyncio.timeout(_POLL_S):
                await session.wait_until_ready()
        except TimeoutError:
            continue
        break
    engine = session.frame.engine
    if interrupted.is_set() or engine.state is not EngineState.RUNNING:
        failure = "interrupted before the engine was ready" if interrupted.is_set() else engine.message
        return _summarise(spec, engine, (), (), interrupted.is_set(), failure or "the engine does not serve")
    async with loaded(session, spec.load):
        started_s = session.now_s - session.frame.load.elapsed_s
        if observer is not None:
            observer.began(run_id, session, started_s)
        failure = await _wait_until_measured(session, spec, started_s, progress, interrupted, observer)
        frame = session.frame
    if observer is not None:
        observer.heard(session)
    intervals = steady(session.intervals, started_s, spec)
    measured = _summarise(spec, frame.engine, intervals, session.samples, interrupted.is_set(), failure)
    return replace(measured, fidelity=_fidelity(frame), run_id=run_id)


def recovered(
    spec: RunSpec, engine: Engine, intervals: Sequence[Interval], samples: Sequence[EngineSample]
) -> Measurement:
    """What intervals that were kept still say of a run that never ended. Their time begins with the load."""
    return _summarise(spec, engine, steady(intervals, 0.0, spec), samples, True, "")


def unmeasured(spec: RunSpec, engine: Engine, failure: str) -> Measurement:
    """A run that could not begin."""
    return _summarise(spec, engine, (), (), False, failure)


def _fidelity(frame: Frame) -> float | None:
    """Of the cell that is live; None while the engine does not know it."""
    live = frame.engine.effective
    return next(
        (
            cell.fidelity
            for cell in frame.capabilities
            if (cell.backend, cell.precision, cell.device, cell.recipe)
            == (live.backend, live.precision, live.device, live.recipe)
        ),
        None,
    )


async def _wait_until_measured(
    session: Session,
    spec: RunSpec,
    started_s: float,
    progress: Callable[[Frame, float | None], None],
    interrupted: asyncio.Event,
    observer: RunObserver | None,
) -> str:
    """Why it ended early; empty when it did not. The session's intervals are read only when a new one has come."""
    steady_since_s = started_s + spec.load.ramp_s + spec.warm_up_s
    measured = SteadyIntervals(started_s, spec)
    version: int | None = None
    while not interrupted.is_set():
        frame = session.frame
        if frame.points_version != version:
            version = frame.points_version
            if observer is not None:
                observer.heard(session)
            if measured.take(session.intervals) and enough(measured.kept, spec):
                return ""
        if frame.engine.state is EngineState.LOST:
            return frame.engine.message
        if not frame.load.running:
            return frame.load.message or "the load stopped by itself"
        left_s = max(steady_since_s + spec.longest_s - frame.now_s, 0.0)
        progress(replace(frame, load=replace(frame.load, warming_up=frame.now_s < steady_since_s)), left_s)
        await asyncio.sleep(_POLL_S)
    return ""


class SteadyIntervals:
    """Whole intervals after the warm-up, as many as were asked for, gathered as they come.

    Each interval is looked at once: this goes on while an engine is measured, on the machine that it is measured on.
    """

    def __init__(self, started_s: float, spec: RunSpec) -> None:
        self.kept: list[Interval] = []
        self._since_s = started_s + spec.load.ramp_s + spec.warm_up_s - _SLACK_S
        self._enough_s = spec.longest_s - _SLACK_S
        self._kept_s = 0.0
        self._last_start_s = -math.inf

    def take(self, intervals: Sequence[Interval]) -> bool:
        """Keeps what is new of a history that only grows, oldest first. Whether anything was kept."""
        new = list(takewhile(lambda interval: interval.start_s > self._last_start_s, reversed(intervals)))
        before = len(self.kept)
        for interval in reversed(new):
            self._last_start_s = interval.start_s
            if interval.start_s < self._since_s or interval.duration_s < _SHORTEST_S:
                continue
            if self._kept_s < self._enough_s:
                self.kept.append(interval)
                self._kept_s += interval.duration_s
        return len(self.kept) > before


def steady(intervals: Sequence[Interval], started_s: float, spec: RunSpec) -> list[Interval]:
    """Whole intervals after the warm-up, as many as were asked for."""
    found = SteadyIntervals(started_s, spec)
    found.take(intervals)
    return found.kept


def enough(steady: Sequence[Interval], spec: RunSpec) -> bool:
    """All that was asked for was measured; or, where that is left open, enough for the figures to be certified."""
    measured_s = sum(interval.duration_s for interval in steady)
    if measured_s < spec.duration_s - _SLACK_S:
        return False
    return measured_s >= spec.longest_s - _SLACK_S or certified(steady, spec)


def certified(intervals: Sequence[Interval], spec: RunSpec) -> bool:
    """Throughput is steady, its interval narrow, and p95 can be stated; where an SLO watches p95, it is steady too."""
    if sum(interval.answers.requests for interval in intervals) < P95_FLOOR:
        return False
    throughput, p95 = _judgements(intervals)
    measured = rates(intervals)
    wide = measured is not None and measured.wide and not spec.load.is_open  # of an open one chance sets the width
    return throughput.stable and not wide and (p95.stable or spec.slo_p95_ms is None)


def _judgements(intervals: Sequence[Interval]) -> tuple[Judgement, Judgement]:
    """Of throughput and of p95, each on windows that hold enough requests for it."""
    length_s = sum(interval.duration_s for interval in intervals) / WINDOWS_OF_A_RUN * 0.99
    return judge_throughput(windows(intervals, length_s)), judge_p95(windows(intervals, length_s, P95_FLOOR))


def _summarise(
    spec: RunSpec,
    engine: Engine,
    intervals: Sequence[Interval],
    samples: Sequence[EngineSample],
    interrupted: bool,
    failure: str,
) -> Measurement:
    duration_s = sum(interval.duration_s for interval in intervals)
    throughput_judgement, p95_judgement = _judgements(intervals)
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
        last = next((i.last_error for i in reversed(intervals) if i.last_error), "")
        nothing = f"no request was answered within {duration_s:.0f} s: run longer, or send smaller batches"
        failure = f"no request was answered ({codes}): {last}" if codes else nothing
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
    if len(inside) < 2 or inside[-1].cpu_s < inside[0].cpu_s:  # restarted in between
        return None
    return (inside[-1].cpu_s - inside[0].cpu_s) / (inside[-1].time_s - inside[0].time_s)


def _samples_of(intervals: Sequence[Interval], samples: Sequence[EngineSample]) -> list[EngineSample]:
    if not intervals:
        return []
    first_s, last_s = intervals[0].start_s - 0.5, intervals[-1].end_s + 0.5
    return [sample for sample in samples if first_s <= sample.time_s <= last_s]


def spec_of(run: StoredRun) -> RunSpec:
    """What was to be measured; keys that this program does not know are left out."""
    known, of_load = ({field.name for field in fields(kind)} for kind in (RunSpec, LoadSpec))
    load = {name: value for name, value in run.spec["load"].items() if name in of_load}
    spec = {name: value for name, value in run.spec.items() if name in known}
    return RunSpec(**{**spec, "load": LoadSpec(**load)})
