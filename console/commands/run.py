"""`embedconsole run` and `calibrate`: measure, with progress on stderr and the result on stdout."""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from console.commands.progress import Progress
from console.load.corpora import GENERATED_CORPORA, CorpusError, load_corpus
from console.measure.cleanup import run_to_completion
from console.measure.driver_ceiling import DEFAULT_DIM, CalibrationFailed, Ceilings, measure_ceiling, shape_of
from console.measure.environment import git_revision
from console.measure.measurement import Measurement
from console.measure.recorder import Recorder
from console.measure.result import as_json as json_object
from console.measure.run import run
from console.measure.spec import RunSpec
from console.model.engine import Deployment, EngineState
from console.model.errors import CommandRefused
from console.model.exit_codes import EXIT_BY_SIGNAL, ExitCode
from console.model.frame import LogLine
from console.model.load import LoadSpec
from console.model.verdicts import exit_code_of
from console.output.run import as_text
from console.session.engine_process import EXIT_USAGE
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.database import Store

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def check_corpus(load: LoadSpec) -> str:
    """Returns why the corpus cannot be used, or an empty string. Checked before an engine is started."""
    if load.corpus in GENERATED_CORPORA:
        return ""
    try:
        load_corpus(load.corpus)
    except CorpusError as error:
        return str(error)
    return ""


def exit_code(measurement: Measurement, engine_exit_code: int | None = None) -> int:
    """Returns the first exit code of the contract that applies. `engine_exit_code` is that of the engine, if ended."""
    if measurement.failure and engine_exit_code == EXIT_USAGE:
        return ExitCode.USAGE
    return exit_code_of({measurement.verdict}, slo_missed=measurement.slo_missed)


def run_once(
    options: SessionOptions, spec: RunSpec, *, coalesce: str | None, as_json: bool, store: Store | None = None
) -> int:
    """Measures, records and prints a run; returns the exit code. Ctrl+C ends it, prints the partial result: 130."""
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
    await asyncio.to_thread(git_revision, Path.cwd())  # cached here, so that git does not run under load
    try:
        async with Session(options) as session:
            try:
                measurement = await _measure(session, spec, coalesce, progress, interrupted, recorder)
            finally:
                progress.clear()
            measurement = replace(measurement, interrupted=bool(received))
            measurement = await _with_ceiling(measurement, progress)
            measurement = with_request(measurement, options)
            record_line = ""
            if recorder is not None and _is_recorded(recorder, session, interrupted=bool(received)):
                record_line = finish_recording(recorder, measurement, session.frame.log)
            engine_exit_code = EXIT_USAGE if session.refused_options else session.engine_exit_code
    except CommandRefused as refusal:
        sys.stderr.write(f"embedconsole: {refusal}\n")
        return ExitCode.USAGE
    print(json.dumps(json_object(measurement), ensure_ascii=False) if as_json else as_text(measurement), flush=True)
    sys.stderr.write(record_line)
    if received:
        return EXIT_BY_SIGNAL + received[0]
    return exit_code(measurement, engine_exit_code)


def _is_recorded(recorder: Recorder, session: Session, *, interrupted: bool) -> bool:
    """Whether the run belongs in the store: its load started, or its own engine broke at the start.

    A mistake in the options, an address where nothing answers and an early Ctrl+C leave no run.
    """
    broke = not (session.frame.engine.remote or session.refused_options or interrupted)
    return recorder.has_started or broke


def with_request(measurement: Measurement, options: SessionOptions) -> Measurement:
    """Returns the measurement with what was asked for, if its own engine did not get so far as to say it."""
    engine, spec = measurement.engine, options.engine
    if engine.requested != Deployment() or engine.remote:
        return measurement
    names = ("backend", "precision", "recipe", "device", "model", "instances", "threads")
    requested = Deployment(**{name: getattr(spec, name) for name in names})
    return replace(measurement, engine=replace(engine, requested=requested))


def finish_recording(recorder: Recorder, measurement: Measurement, log: Sequence[LogLine]) -> str:
    """Writes the result of the run; returns a line that says where it is stored."""
    run_id = measurement.run_id
    try:
        spill = recorder.finish(measurement, log)
    except OSError as error:
        return f"embedconsole: run {run_id} is lost: {recorder.trouble}; no spill file either ({error})\n"
    if spill is not None:
        return (
            f"embedconsole: run {run_id} was not recorded: {recorder.trouble}\n"
            f"it is kept in {spill}; import it once the store can be written: embedconsole runs restore {spill}\n"
        )
    return f"recorded as {run_id}: embedconsole runs show {run_id}\n"


def calibrate_once(load: LoadSpec, *, as_json: bool) -> int:
    """Measures, caches and prints the load generator's ceiling at this load shape; returns the exit code."""
    try:
        ceiling = asyncio.run(measure_ceiling(load))
    except CalibrationFailed as failure:
        sys.stderr.write(f"embedconsole: {failure}\n")
        return ExitCode.ENGINE_FAILED
    Ceilings().keep(load, ceiling)
    shape = shape_of(load, DEFAULT_DIM)
    if as_json:
        print(json.dumps({"shape": shape, **asdict(ceiling)}))
    else:
        print(f"{shape}: {ceiling.requests_per_s:,.0f} requests/s, {ceiling.cpu_us_per_request:,.0f} µs of CPU each")
    return ExitCode.OK


async def _with_ceiling(measurement: Measurement, progress: Progress) -> Measurement:
    """Adds the load generator's ceiling at this load shape; measures it if it is not cached. Call without a load."""
    if measurement.interrupted or measurement.failure or measurement.rates is None:
        return measurement
    load, dim = measurement.spec.load, measurement.engine.model.dim or DEFAULT_DIM
    ceilings = Ceilings()
    ceiling = ceilings.known(load, dim)
    if ceiling is None or ceiling.share(measurement.rates.requests_per_s) > 1:  # measured on a busier machine
        progress.say("measuring the load generator's ceiling, once for this load shape")
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
    """Measures a run. `coalesce` sets a remote engine for the run and restores it; an own engine starts with it."""
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
            await run_to_completion(_restore_coalescing(session, before))


async def _restore_coalescing(session: Session, on: bool) -> None:
    """Restores coalescing. A failure is only reported, because the measurement is still valid."""
    try:
        await session.set_coalescing(on)
    except CommandRefused as refusal:
        sys.stderr.write(f"embedconsole: coalescing stays {'off' if on else 'on'}: {refusal}\n")
