"""`embedconsole max-load`: finds the highest load that meets a latency SLO, and prints it."""

import asyncio
import json
import secrets
import signal
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from console.commands.progress import Progress
from console.measure.max_load import SCHEMA_VERSION, MaxLoad, MaxLoadSpec, find_max_load
from console.measure.max_load_search import Limit
from console.measure.measurement import Measurement
from console.measure.recorder import Recorder
from console.measure.result import verdict_sentence
from console.measure.spec import RunSpec
from console.model.errors import CommandRefused
from console.model.exit_codes import EXIT_BY_SIGNAL, ExitCode
from console.model.frame import Frame
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.database import Store
from console.store.liveness import utc_now
from console.store.schema import MAX_LOAD
from console.store.write import begin_sweep, delete_empty_sweep, end_sweep


def max_load_once(options: SessionOptions, spec: MaxLoadSpec, *, store: Store | None, as_json: bool) -> int:
    """Finds, records and prints the maximum load; returns the exit code. Raises StoreError if it cannot be stored."""
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
        text = f"# {json.dumps(asdict(spec))}\n"
        begin_sweep(store, sweep_id, "max-load", utc_now(), spec.load.seed, 0, text, MAX_LOAD)
    progress = Progress(sys.stderr)

    def recorder_of(trial: RunSpec) -> Recorder | None:
        return Recorder(store, trial, sweep_id=sweep_id) if store is not None else None

    def show(frame: Frame, left_s: float | None) -> None:
        if sys.stderr.isatty() or left_s is None:  # without a terminal, the line of each trial is enough
            progress.show(frame, left_s)

    def report(line: str) -> None:
        progress.clear()
        print(line, file=sys.stderr, flush=True)

    try:
        async with Session(options) as session:
            result = await find_max_load(session, spec, interrupted, show, report, recorder_of)
            result.sweep_id = sweep_id if store is not None and result.trials else ""
            refused = session.refused_options
    except CommandRefused as refusal:
        sys.stderr.write(f"embedconsole: {refusal}\n")
        return ExitCode.USAGE
    finally:
        try:
            progress.clear()
        finally:
            _end(store, sweep_id)
    json_object = as_json(result, interrupted=bool(received))
    print(json.dumps(json_object, ensure_ascii=False) if in_json else as_text(result), flush=True)
    if received:
        return EXIT_BY_SIGNAL + received[0]
    return ExitCode.USAGE if refused else result.exit_code


def _end(store: Store | None, sweep_id: str) -> None:
    """Stores the end of the search; a search without a trial leaves nothing in the store."""
    if store is not None:
        end_sweep(store, sweep_id, utc_now())
        delete_empty_sweep(store, sweep_id)


def as_json(result: MaxLoad, *, interrupted: bool = False) -> dict[str, Any]:
    """Returns the object of `max-load --json`; `max` is null if no level held."""
    winner = result.winner
    return {
        "schema_version": SCHEMA_VERSION,
        "sweep_id": result.sweep_id or None,
        "interrupted": interrupted,
        "failure": result.failure or None,
        "slo_p95_ms": result.spec.slo_p95_ms,
        "loop": "closed" if result.spec.closed else "open",
        "batch": result.spec.load.batch,
        "max": None if winner is None else _figures(result.search.best or 0.0, Limit.NONE, winner, result.spec),
        "binding_limit": str(result.search.binding),
        "trials": [_figures(level, limit, measurement, result.spec) for level, limit, measurement in result.trials],
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


_LIMIT_WORDS = {
    Limit.NONE: "nothing: the highest level that was tried still holds",
    Limit.SLO: "the SLO: p95 exceeds it",
    Limit.CLIENT: "the load generator: the engine may sustain more; use a larger batch or --stream",
    Limit.ERRORS: "errors: requests fail, are refused or are dropped",
    Limit.UNSTABLE: "no equilibrium: a backlog grows, or p95 cannot be stated",
}


def as_text(result: MaxLoad) -> str:
    """Returns the maximum load, its verdict, what limits it, and the trials."""
    spec, best, winner = result.spec, result.search.best, result.winner
    if result.failure:
        return f"max load    failed: {result.failure}"
    if winner is None or best is None or winner.rates is None:
        tried = min((level for level, _, _ in result.trials), default=None)
        down = f", not even at {spec.level_text(tried)}" if tried is not None else ""
        lines = [f"max load    none found with p95 ≤ {spec.slo_p95_ms:g} ms{down}"]
    else:
        p95_ms = winner.latency.p95_ms or 0.0
        figures = f"{winner.rates.texts_per_s:,.0f} texts/s at p95 {p95_ms:,.1f} ms (n={winner.latency.n:,})"
        level = f"{spec.level_text(best)} (batch {spec.load.batch})"
        lines = [
            f"max load    {level}; measured {figures}; SLO {spec.slo_p95_ms:g} ms",
            f"verdict     {verdict_sentence(winner)}",
        ]
    lines.append(f"limit       {_LIMIT_WORDS[result.search.binding]}")
    kept = f"; embedconsole runs --sweep {result.sweep_id}" if result.sweep_id else ""
    lines.append(f"trials      {len(result.trials)}, two agree on each limit{kept}")
    return "\n".join(lines)
