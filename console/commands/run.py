"""`embedconsole run` from its arguments to its exit code: progress on stderr, the result on stdout."""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from console.commands.progress import Progress
from console.load.corpora import GENERATED_CORPORA, CorpusError, load_corpus
from console.measure.cleanup import carry_out
from console.measure.driver_ceiling import USUAL_DIM, CalibrationFailed, Ceilings, measure_ceiling, shape_of
from console.measure.environment import git_revision
from console.measure.recorder import Recorder
from console.measure.result import as_json as json_object
from console.measure.run import Measurement, RunSpec, Verdict, run
from console.model.engine import EngineState
from console.model.errors import CommandRefused
from console.model.exit_codes import EXIT_BY_SIGNAL, ExitCode
from console.model.frame import LogLine
from console.model.load import LoadSpec
from console.output.run import as_text
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.database import Store

ENGINE_SAYS_USAGE = 3

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def check_corpus(load: LoadSpec) -> str:
    """Why this corpus cannot be used, before an engine is started for it; empty when it can."""
    if load.corpus in GENERATED_CORPORA:
        return ""
    try:
        load_corpus(load.corpus)
    except CorpusError as error:
        return str(error)
    return ""


def exit_code(measurement: Measurement, engine_exit_code: int | None = None) -> int:
    """The first of the contract's codes that applies. `engine_exit_code` 3: the engine refused its own flags."""
    match measurement.verdict:
        case Verdict.FAILED:
            return ExitCode.USAGE if engine_exit_code == ENGINE_SAYS_USAGE else ExitCode.ENGINE_FAILED
        case Verdict.CLIENT_BOUND:
            return ExitCode.CLIENT_BOUND
        case Verdict.UNSTABLE:
            return ExitCode.UNSTABLE
    return ExitCode.SLO_MISSED if measurement.slo_missed else ExitCode.OK


def run_once(
    options: SessionOptions, spec: RunSpec, *, coalesce: str | None, as_json: bool, store: Store | None = None
) -> int:
    """Runs, records, prints, and returns the exit code. Ctrl+C ends the measuring and prints what there is (130)."""
    recorder = Recorder(store, spec) if store is not None else None
    return asyncio.run(_run_once(options, spec, coalesce, as_json, recorder))


async def _run_once(
    options: SessionOptions, spec: RunSpec, coalesce: str | None, as_json: bool, recorder: Recorder | None
) -> int:
    interrupted = asyncio.Event()
    received: list[signal.Signals] = []

    def interrupt(number: signal.Signals) -> None:
        received.append(number)
        interrupted.set()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt, number)
    progress = Progress(sys.stderr)
    await asyncio.to_thread(git_revision, Path.cwd())  # asked once, and not while a load runs
    try:
        async with Session(options) as session:
            try:
                measurement = await _measure(session, spec, coalesce, progress, interrupted, recorder)
            finally:
                progress.clear()
            measurement = replace(measurement, interrupted=bool(received))
            measurement = await _with_ceiling(measurement, progress)
            told = recorded(recorder, measurement, session.frame.log) if recorder is not None else ""
            engine_exit_code = session.engine_exit_code
    except CommandRefused as refusal:
        sys.stderr.write(f"embedconsole: {refusal}\n")
        return ExitCode.USAGE
    print(json.dumps(json_object(measurement), ensure_ascii=False) if as_json else as_text(measurement), flush=True)
    sys.stderr.write(told)
    if received:
        return EXIT_BY_SIGNAL + received[0]
    return exit_code(measurement, engine_exit_code)


def recorded(recorder: Recorder, measurement: Measurement, log: Sequence[LogLine]) -> str:
    """The line that says where the run is kept."""
    run_id = measurement.run_id
    try:
        aside = recorder.finish(measurement, log)
    except OSError as error:
        return f"embedconsole: run {run_id} was not kept: {recorder.trouble}; nor by a file ({error})\n"
    if aside is not None:
        return (
            f"embedconsole: run {run_id} was not recorded: {recorder.trouble}\n"
            f"it is kept in {aside}; once the store can be written: embedconsole runs restore {aside}\n"
        )
    return f"recorded as {run_id}: embedconsole runs show {run_id}\n"


def calibrate_once(load: LoadSpec, *, as_json: bool) -> int:
    """Measures the driver's own ceiling at this shape of load, keeps it, prints it, and returns the exit code."""
    try:
        ceiling = asyncio.run(measure_ceiling(load))
    except CalibrationFailed as failure:
        sys.stderr.write(f"embedconsole: {failure}\n")
        return ExitCode.ENGINE_FAILED
    Ceilings().keep(load, ceiling)
    shape = shape_of(load, USUAL_DIM)
    if as_json:
        print(json.dumps({"shape": shape, **asdict(ceiling)}))
    else:
        print(f"{shape}: {ceiling.requests_per_s:,.0f} requests/s, {ceiling.cpu_us_per_request:,.0f} µs of CPU each")
    return ExitCode.OK


async def _with_ceiling(measurement: Measurement, progress: Progress) -> Measurement:
    """With the driver's own ceiling at this shape of load; where it is not known it is measured, while nothing runs."""
    if measurement.interrupted or measurement.failure or measurement.rates is None:
        return measurement
    load, dim = measurement.spec.load, measurement.engine.model.dim or USUAL_DIM
    ceilings = Ceilings()
    ceiling = ceilings.known(load, dim)
    if ceiling is None or ceiling.share(measurement.rates.requests_per_s) > 1:  # it was taken on a busier machine
        progress.say("measuring the load driver's own ceiling, once for this shape of load")
        try:
            ceiling = await measure_ceiling(load, dim)
        except CalibrationFailed as failure:
            sys.stderr.write(f"embedconsole: {failure}\n")
            return measurement
        finally:
            progress.clear()
        ceilings.keep(load, ceiling, dim)
    return replace(measurement, ceiling=ceiling)


async def _measure(
    session: Session,
    spec: RunSpec,
    coalesce: str | None,
    progress: Progress,
    interrupted: asyncio.Event,
    recorder: Recorder | None,
) -> Measurement:
    """With `coalesce`, a remote engine is set so for the run and set back after it; an own one starts so."""
    if coalesce is None or not session.frame.engine.remote:
        return await run(session, spec, progress.show, interrupted, recorder)
    await session.wait_until_ready()
    if session.frame.engine.state is not EngineState.RUNNING:
        return await run(session, spec, progress.show, interrupted, recorder)
    before, wanted = session.frame.engine.batching.coalesce, coalesce == "on"
    try:
        await session.set_coalescing(wanted)
        return await run(session, spec, progress.show, interrupted, recorder)
    finally:
        if before != wanted:
            await carry_out(_set_back(session, before))


async def _set_back(session: Session, on: bool) -> None:
    """What cannot be set back is told: the measurement is worth no less for it."""
    try:
        await session.set_coalescing(on)
    except CommandRefused as refusal:
        sys.stderr.write(f"embedconsole: coalescing stays {'off' if on else 'on'}: {refusal}\n")
