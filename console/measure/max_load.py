"""Measures the highest load that an engine sustains under an SLO, and what limits it."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from console.analysis.validity import MAX_ERROR_SHARE, SATURATED_CORES
from console.measure.max_load_search import Bounds, Limit, Search
from console.measure.measurement import Measurement
from console.measure.recorder import Recorder
from console.measure.run import run
from console.measure.spec import RunSpec
from console.model.durations import duration
from console.model.exit_codes import ExitCode
from console.model.frame import Frame
from console.model.load import P95_FLOOR, LoadSpec
from console.model.verdicts import exit_code_of
from console.session.session import Session

SCHEMA_VERSION = 1

MIN_TRIAL_REQUESTS = P95_FLOOR + 45
"""Expected requests of a trial. A Poisson schedule then has fewer than the 130 of a p95 once in 3,000 trials."""

MAX_TRIAL_S = 60.0

BETWEEN_TRIALS_S = 1.0
"""Time to stop and start a load; an estimate."""

MAX_RATE, MAX_CONCURRENCY = 20_000.0, 1024.0
"""Upper bounds of the search: requests per second, and requests in flight."""


@dataclass(frozen=True, slots=True)
class MaxLoadSpec:
    """The specification of a search: load shape, SLO and length of a trial."""

    load: LoadSpec
    slo_p95_ms: float
    trial_s: float = 5.0
    warm_up_s: float = 2.0
    closed: bool = False
    """Searches for a concurrency in a closed loop instead of a rate in an open loop."""

    @property
    def bounds(self) -> Bounds:
        """The range of the search. A rate starts where a trial has just enough requests for a p95."""
        if self.closed:
            return Bounds(1.0, 1.0, MAX_CONCURRENCY, whole=True)
        return Bounds(MIN_TRIAL_REQUESTS / self.trial_s, MIN_TRIAL_REQUESTS / MAX_TRIAL_S, MAX_RATE)

    def trial(self, level: float, *, again: bool = False, number: int = 0) -> RunSpec:
        """Returns the run of a level. With `again`, the best level is measured for twice as long.

        `number` changes the seed of the arrivals: trials are independent only with different arrivals.
        """
        length_s = self.trial_s * (2 if again else 1)
        if self.closed:
            load = replace(self.load, concurrency=int(level), rate=0.0)
            return RunSpec(load, length_s, self.warm_up_s, self.slo_p95_ms, at_most_s=max(length_s, MAX_TRIAL_S / 2))
        load = replace(self.load, rate=level, seed=self.load.seed + number)
        return RunSpec(load, max(length_s, math.ceil(MIN_TRIAL_REQUESTS / level)), self.warm_up_s, self.slo_p95_ms)

    def level_text(self, level: float) -> str:
        """Returns the level with its unit."""
        return f"{level:g} in flight" if self.closed else f"{level:g} requests/s"


@dataclass(slots=True)
class MaxLoad:
    """The trials so far, and the final measurement of the best level."""

    spec: MaxLoadSpec
    search: Search
    trials: list[tuple[float, Limit, Measurement]] = field(default_factory=list)
    winner: Measurement | None = None
    failure: str = ""
    sweep_id: str = ""
    left_s: float = math.inf
    """The longest time that the remaining trials are expected to take. It grows only if no level has held yet."""

    def count_down(self, trial_s: float) -> None:
        """Updates `left_s` after a trial that measured for `trial_s`."""
        search, spec = self.search, self.spec
        around_s = spec.warm_up_s + BETWEEN_TRIALS_S
        lowest = search.best or (spec.bounds.least if search.may_go_down else spec.bounds.start)
        longest_s = spec.trial(lowest).duration_s + around_s
        at_most_s = search.trials_left * longest_s
        if search.best is not None or at_most_s < self.left_s:
            counted_s = min(at_most_s, self.left_s - trial_s - around_s)
            at_most_s = min(max(counted_s, longest_s if at_most_s else 0.0), self.left_s)
        self.left_s = at_most_s

    @property
    def exit_code(self) -> ExitCode:
        """The first exit code of the contract that applies."""
        if self.failure:
            return ExitCode.ENGINE_FAILED
        if self.search.binding is Limit.CLIENT:
            return ExitCode.CLIENT_BOUND
        if self.winner is None:
            return ExitCode.SLO_MISSED
        return exit_code_of({self.winner.verdict})


def limit_of(measurement: Measurement, slo_p95_ms: float) -> Limit:
    """Returns why a level does not hold: errors, the SLO, no equilibrium, or the client, if it caused the last two.

    In an open loop latency counts from the scheduled time, so late sending increases it and never decreases it.
    Therefore an SLO that is met is met however busy the load generator was, and one that is missed by more than the
    send lag is missed by the engine. A p95 that cannot be stated counts as missed. Arrivals that were dropped count as
    errors, unless the load generator had no CPU left.
    """
    failed, busy = sum(measurement.errors.values()), measurement.client_cpu_cores > SATURATED_CORES
    if failed > MAX_ERROR_SHARE * (failed + measurement.latency.n):
        return Limit.ERRORS
    if not measurement.failures.judgement.stable:
        return Limit.CLIENT if busy else Limit.ERRORS
    p95_ms = measurement.latency.p95_ms
    if p95_ms is not None and p95_ms <= slo_p95_ms and measurement.little.stable:
        return Limit.NONE
    late_ms = measurement.lag.judged[1] if measurement.lag is not None else None
    of_the_engine = p95_ms is not None and late_ms is not None and p95_ms - late_ms > slo_p95_ms
    if measurement.saturated and not (of_the_engine and not busy):
        return Limit.CLIENT
    return Limit.SLO if p95_ms is not None and p95_ms > slo_p95_ms else Limit.UNSTABLE


async def find_max_load(
    session: Session,
    spec: MaxLoadSpec,
    interrupted: asyncio.Event,
    progress: Callable[[Frame, float | None], None],
    report: Callable[[str], None],
    recorder_of: Callable[[RunSpec], Recorder | None],
) -> MaxLoad:
    """Tries levels until two trials agree on the highest that holds; `report` gets a line for each trial.

    Raises CommandRefused, and OSError if a trial cannot be recorded.
    """
    result = MaxLoad(spec, Search(spec.bounds))
    while not interrupted.is_set() and (level := result.search.next()) is not None:
        again = result.search.remeasuring
        trial = spec.trial(level, again=again, number=len(result.trials))
        recorder = recorder_of(trial)
        measurement = await run(session, trial, progress, interrupted, recorder)
        if recorder is not None and recorder.has_started:
            recorder.finish(measurement, session.frame.log)
        if measurement.failure and not measurement.errors:
            result.failure = measurement.failure
            break
        if measurement.interrupted:
            break
        limit = limit_of(measurement, spec.slo_p95_ms)
        result.search.report(limit)
        result.trials.append((level, limit, measurement))
        if again and limit is Limit.NONE:
            result.winner = measurement
        result.count_down(measurement.duration_s)
        report(_trial_text(result, again=again))
    return result


def _trial_text(result: MaxLoad, *, again: bool) -> str:
    """Returns the last trial and the time that the remaining trials may take."""
    level, limit, measurement = result.trials[-1]
    p95_ms, spec = measurement.latency.p95_ms, result.spec
    p95 = f"p95 {p95_ms:,.1f} ms" if p95_ms is not None else f"no p95 (n={measurement.latency.n})"
    trial = f"{spec.level_text(level)}{', measured again' if again else ''}"
    left = f"; at most {duration(result.left_s)} left" if result.left_s else ""
    return f"[{len(result.trials)}] {trial}: {p95}, {'holds' if limit is Limit.NONE else f'limit: {limit}'}{left}"
