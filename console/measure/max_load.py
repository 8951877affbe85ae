"""`embedconsole max-load`: the highest load that an engine carries under an SLO, and what limits it."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from console.analysis.validity import SATURATED_CORES
from console.measure.max_load_search import Bounds, Limit, Search
from console.measure.recorder import Recorder
from console.measure.run import Measurement, RunSpec, Verdict, run
from console.model.durations import duration
from console.model.exit_codes import ExitCode
from console.model.frame import Frame
from console.model.load import P95_FLOOR, LoadSpec
from console.session.session import Session

SCHEMA_VERSION = 1

NEEDED = P95_FLOOR + 45
"""Requests of a trial: a Poisson schedule brings fewer than 130 of them once in 3,000 times."""

LONGEST_TRIAL_S = 60.0

MOST_RATE, MOST_CALLERS = 20_000.0, 1024.0

ERRORS_ALLOWED = 0.001


@dataclass(frozen=True, slots=True)
class MaxLoadSpec:
    """What is searched: the shape of the load, the SLO, and how long a trial takes."""

    load: LoadSpec
    slo_p95_ms: float
    trial_s: float = 5.0
    warm_up_s: float = 2.0
    closed: bool = False
    """Callers are searched for instead of a rate."""

    @property
    def bounds(self) -> Bounds:
        """A rate begins where a trial just holds enough requests for a p95."""
        if self.closed:
            return Bounds(1.0, 1.0, MOST_CALLERS, whole=True)
        return Bounds(NEEDED / self.trial_s, NEEDED / LONGEST_TRIAL_S, MOST_RATE)

    def trial(self, level: float, *, again: bool = False, number: int = 0) -> RunSpec:
        """The run at that level; the winner is measured again for twice as long.

        Arrivals are by chance, and two trials only agree on something when each has a chance of its own: `number`.
        """
        length_s = self.trial_s * (2 if again else 1)
        if self.closed:
            load = replace(self.load, concurrency=int(level), rate=0.0)
            return RunSpec(
                load, length_s, self.warm_up_s, self.slo_p95_ms, at_most_s=max(length_s, LONGEST_TRIAL_S / 2)
            )
        load = replace(self.load, rate=level, seed=self.load.seed + number)
        return RunSpec(load, max(length_s, math.ceil(NEEDED / level)), self.warm_up_s, self.slo_p95_ms)

    def level_text(self, level: float) -> str:
        return f"{level:g} in flight" if self.closed else f"{level:g} requests/s"


@dataclass(slots=True)
class MaxLoad:
    """What has been tried so far, and the winner."""

    spec: MaxLoadSpec
    search: Search
    trials: list[tuple[float, Limit, Measurement]] = field(default_factory=list)
    winner: Measurement | None = None
    failure: str = ""
    sweep_id: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """The first of the contract's codes that applies."""
        if self.failure:
            return ExitCode.ENGINE_FAILED
        if self.search.binding is Limit.CLIENT:
            return ExitCode.CLIENT_BOUND
        if self.winner is None:
            return ExitCode.SLO_MISSED
        return ExitCode.OK if self.winner.verdict is Verdict.OK or self.late_but_met else ExitCode.UNSTABLE

    @property
    def late_but_met(self) -> bool:
        """The winner's requests went out late, which made its latencies look worse, and they met the SLO even so."""
        winner = self.winner
        return winner is not None and winner.verdict is Verdict.CLIENT_BOUND and winner.lag is not None


def limit_of(measurement: Measurement, slo_p95_ms: float) -> Limit:
    """What keeps a level from holding: errors, the SLO, no equilibrium; of the last two, whose fault it is.

    In an open loop latency counts from the scheduled time: a driver that sends late makes it look worse, never better.
    So an SLO which is met is met however busy the driver was, and one which is missed by more than the driver was late
    is missed by the engine. A p95 that cannot be stated is not met.
    """
    failed = sum(measurement.errors.values())
    if failed > ERRORS_ALLOWED * (failed + measurement.latency.n):
        return Limit.ERRORS
    p95_ms = measurement.latency.p95_ms
    if p95_ms is not None and p95_ms <= slo_p95_ms and measurement.little.stable:
        return Limit.NONE
    late_ms = measurement.lag.judged[1] if measurement.lag is not None else None
    of_the_engine = p95_ms is not None and late_ms is not None and p95_ms - late_ms > slo_p95_ms
    if measurement.saturated and not (of_the_engine and measurement.client_cpu_cores <= SATURATED_CORES):
        return Limit.CLIENT
    return Limit.SLO if p95_ms is not None and p95_ms > slo_p95_ms else Limit.UNSTABLE


async def find_max_load(
    session: Session,
    spec: MaxLoadSpec,
    interrupted: asyncio.Event,
    progress: Callable[[Frame, float | None], None],
    told: Callable[[str], None],
    recorder_of: Callable[[RunSpec], Recorder | None],
) -> MaxLoad:
    """Tries levels until two trials agree on the highest that holds. Raises CommandRefused and OSError."""
    found = MaxLoad(spec, Search(spec.bounds))
    while not interrupted.is_set() and (level := found.search.next()) is not None:
        again = found.search.remeasuring
        trial = spec.trial(level, again=again, number=len(found.trials))
        recorder = recorder_of(trial)
        measurement = await run(session, trial, progress, interrupted, recorder)
        if recorder is not None:
            recorder.finish(measurement, session.frame.log)
        if measurement.failure and not measurement.errors:
            found.failure = measurement.failure
            break
        if measurement.interrupted:
            break
        limit = limit_of(measurement, spec.slo_p95_ms)
        found.search.tell(limit)
        found.trials.append((level, limit, measurement))
        if again and limit is Limit.NONE:
            found.winner = measurement
        told(_trial_text(found, again=again))
    return found


def _trial_text(found: MaxLoad, *, again: bool) -> str:
    """The last trial, and how long the rest may take."""
    level, limit, measurement = found.trials[-1]
    p95_ms, spec = measurement.latency.p95_ms, found.spec
    says = f"p95 {p95_ms:,.1f} ms" if p95_ms is not None else f"no p95 (n={measurement.latency.n})"
    which = f"{spec.level_text(level)}{', measured again' if again else ''}"
    left_s = found.search.trials_left * (measurement.duration_s + spec.warm_up_s + 1.0)
    left = "" if found.winner is not None else f"; about {duration(left_s)} left"
    return f"[{len(found.trials)}] {which}: {says}, {'holds' if limit is Limit.NONE else f'limit: {limit}'}{left}"
