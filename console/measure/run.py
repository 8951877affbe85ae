"""Measures one run: starts the load on the engine, skips the warm-up, and summarises the steady intervals."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from console.measure.certification import SteadyIntervals, is_complete, steady
from console.measure.cleanup import running_load
from console.measure.measurement import Measurement, new_run_id, summarise
from console.measure.spec import RunSpec
from console.model.engine import CapabilityCell, Deployment, EngineState
from console.model.frame import Frame
from console.session.session import Session

_POLL_S = 0.1


class RunObserver(Protocol):
    """Callbacks of a run while it is measured; the recorder implements them."""

    def on_start(self, run_id: str, session: Session, started_s: float) -> None:
        """Called once the load runs; it started at `started_s` of the session's clock."""
        ...

    def on_intervals(self, session: Session) -> None:
        """Called when the session may have new intervals."""
        ...


async def run(
    session: Session,
    spec: RunSpec,
    progress: Callable[[Frame, float | None], None],
    interrupted: asyncio.Event,
    observer: RunObserver | None = None,
) -> Measurement:
    """Waits for the engine, starts the load, measures and stops the load. Raises CommandRefused for a refused load.

    The load is stopped even if `progress` or the observer raises, or the caller is cancelled. `progress` is called ten
    times a second with the newest frame and the seconds left, which are None until the load runs.
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
        return summarise(spec, engine, (), (), interrupted.is_set(), failure or "the engine does not serve")
    async with running_load(session, spec.load):
        started_s = session.now_s - session.frame.load.elapsed_s
        if observer is not None:
            observer.on_start(run_id, session, started_s)
        failure = await _wait_until_measured(session, spec, started_s, progress, interrupted, observer)
        frame = session.frame
    if observer is not None:
        observer.on_intervals(session)
    intervals = steady(session.intervals, started_s, spec)
    measured = summarise(spec, frame.engine, intervals, session.samples, interrupted.is_set(), failure)
    return replace(measured, fidelity=fidelity_of(frame.engine.effective, frame.capabilities), run_id=run_id)


def fidelity_of(live: Deployment, capabilities: Sequence[CapabilityCell]) -> float | None:
    """Returns the mean cosine to fp32 of a deployment; None if the engine has not measured it."""
    return next(
        (
            cell.fidelity
            for cell in capabilities
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
    """Returns why measuring ended early, or an empty string. Reads the intervals only when a new one has arrived."""
    steady_since_s = started_s + spec.load.ramp_s + spec.warm_up_s
    measured = SteadyIntervals(started_s, spec)
    version: int | None = None
    while not interrupted.is_set():
        frame = session.frame
        if frame.points_version != version:
            version = frame.points_version
            if observer is not None:
                observer.on_intervals(session)
            if measured.take(session.intervals) and is_complete(measured.kept, spec):
                return ""
        if frame.engine.state is EngineState.LOST:
            return frame.engine.message
        if not frame.load.running:
            return frame.load.message or "the load stopped by itself"
        left_s = max(steady_since_s + spec.longest_s - frame.now_s, 0.0)
        progress(replace(frame, load=replace(frame.load, warming_up=frame.now_s < steady_since_s)), left_s)
        await asyncio.sleep(_POLL_S)
    return ""
