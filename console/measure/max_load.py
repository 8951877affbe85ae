"""`embedconsole max-load`: the highest load that an engine carries under an SLO, and what limits it."""

import asyncio
import json
import math
import secrets
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from console.analysis.validity import SATURATED_CORES
from console.experiments.command import EXIT_BY_SIGNAL, ExitCode
from console.experiments.max_load_search import Bounds, Limit, Search
from console.experiments.present import verdict_in_words
from console.experiments.progress import Progress
from console.experiments.recording import Recorder, utc_now
from console.experiments.run import Measurement, RunSpec, Verdict, run
from console.experiments.store import Store
from console.experiments.store_write import begin_sweep, end_sweep
from console.experiments.sweep_present import duration
from console.frame import P95_FLOOR, Frame, LoadSpec
from console.session import Session
from console.session.port import CommandRefused, SessionOptions

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


def max_load_once(options: SessionOptions, spec: MaxLoadSpec, *, store: Store | None, as_json: bool) -> int:
    """Searches, records, prints, and returns the exit code. Raises StoreError when it cannot be recorded."""
    return asyncio.run(_max_load(options, spec, store, as_json))


async def _max_load(options: SessionOptions, spec: MaxLoadSpec, store: Store | None, in_json: bool) -> int:
    interrupted, received = asyncio.Event(), list[signal.Signals]()

    def interrupt(number: signal.Signals) -> None:
        received.append(number)
        interrupted.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt, number)
    sweep_id = f"s-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    if store is not None:
        begin_sweep(store, sweep_id, "max-load", utc_now(), spec.load.seed, 0, f"# {json.dumps(asdict(spec))}\n")
    progress = Progress(sys.stderr)

    def recorder_of(trial: RunSpec) -> Recorder | None:
        return Recorder(store, trial, sweep_id=sweep_id) if store is not None else None

    def shown(frame: Frame, left_s: float | None) -> None:
        if sys.stderr.isatty() or left_s is None:  # elsewhere each trial's line is enough
            progress.show(frame, left_s)

    def told(line: str) -> None:
        progress.clear()
        print(line, file=sys.stderr, flush=True)

    try:
        async with Session(options) as session:
            found = await find_max_load(session, spec, interrupted, shown, told, recorder_of)
            found.sweep_id = sweep_id if store is not None else ""
    except CommandRefused as refusal:
        sys.stderr.write(f"embedconsole: {refusal}\n")
        return ExitCode.USAGE
    finally:
        try:
            progress.clear()
        finally:
            if store is not None:
                end_sweep(store, sweep_id, utc_now())
    result = json.dumps(as_json(found, interrupted=bool(received)), ensure_ascii=False) if in_json else as_text(found)
    print(result, flush=True)
    return EXIT_BY_SIGNAL + received[0] if received else found.exit_code


def as_json(found: MaxLoad, *, interrupted: bool = False) -> dict[str, Any]:
    """One object; `max` is null where nothing held."""
    winner = found.winner
    return {
        "schema_version": SCHEMA_VERSION,
        "sweep_id": found.sweep_id or None,
        "interrupted": interrupted,
        "failure": found.failure or None,
        "slo_p95_ms": found.spec.slo_p95_ms,
        "loop": "closed" if found.spec.closed else "open",
        "batch": found.spec.load.batch,
        "max": None if winner is None else _figures(found.search.best or 0.0, Limit.NONE, winner, found.spec),
        "binding_limit": str(found.search.binding),
        "trials": [_figures(level, limit, measurement, found.spec) for level, limit, measurement in found.trials],
    }


def _figures(level: float, limit: Limit, measurement: Measurement, spec: MaxLoadSpec) -> dict[str, Any]:
    rates, latency = measurement.rates, measurement.latency
    return {
        "concurrency" if spec.closed else "rate": level,
        "run_id": measurement.run_id,
        "limit": str(limit),
        "verdict": str(measurement.verdict),
        "texts_per_s": round(rates.texts_per_s, 3) if rates else None,
        "requests_per_s": round(rates.requests_per_s, 3) if rates else None,
        "n": latency.n,
        "p50_ms": None if latency.p50_ms is None else round(latency.p50_ms, 3),
        "p95_ms": None if latency.p95_ms is None else round(latency.p95_ms, 3),
        "errors": sum(measurement.errors.values()),
        "dropped": measurement.dropped,
    }


_LATE_BUT_MET = "ok: the load driver sent some requests late; their latencies count that, and meet the SLO even so"
_LIMIT_WORDS = {
    Limit.NONE: "nothing: the highest level that was tried still holds",
    Limit.SLO: "the SLO: p95 goes over it",
    Limit.CLIENT: "the load driver: the engine may carry more; use a larger batch or --stream",
    Limit.ERRORS: "errors: requests fail",
    Limit.UNSTABLE: "no equilibrium: a backlog grows, or p95 cannot be stated",
}


def as_text(found: MaxLoad) -> str:
    """The answer, its evidence, and what limits it."""
    spec, best, winner = found.spec, found.search.best, found.winner
    if found.failure:
        return f"max load    failed: {found.failure}"
    if winner is None or best is None or winner.rates is None:
        tried = min((level for level, _, _ in found.trials), default=None)
        down = f", not even at {spec.level_text(tried)}" if tried is not None else ""
        lines = [f"max load    none found with p95 ≤ {spec.slo_p95_ms:g} ms{down}"]
    else:
        p95_ms = winner.latency.p95_ms or 0.0
        speed = f"{winner.rates.texts_per_s:,.0f} texts/s at p95 {p95_ms:,.1f} ms (n={winner.latency.n:,})"
        lines = [
            f"max load    {spec.level_text(best)} of {spec.load.batch}: {speed}; the SLO is {spec.slo_p95_ms:g} ms",
            f"verdict     {_LATE_BUT_MET if found.late_but_met else verdict_in_words(winner)}",
        ]
    lines.append(f"limit       {_LIMIT_WORDS[found.search.binding]}")
    kept = f"; embedconsole runs --sweep {found.sweep_id}" if found.sweep_id else ""
    lines.append(f"trials      {len(found.trials)}, two agreeing at each limit{kept}")
    return "\n".join(lines)
