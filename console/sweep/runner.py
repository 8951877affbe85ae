"""Runs a sweep: measures its points one after the other on one engine and stores each when it ends.

It writes nothing to the terminal: a front end draws its snapshots.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from console.measure.cleanup import run_to_completion
from console.measure.environment import git_revision
from console.measure.measurement import Measurement, unmeasured
from console.measure.recorder import Recorder
from console.measure.run import run
from console.model.engine import Engine
from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.session.session import Session
from console.store.database import Store, StoreError
from console.store.liveness import utc_now
from console.store.read import RunFilter, list_runs, newest_sweep, points_done
from console.store.schema import SWEEP
from console.store.write import begin_sweep, end_sweep, resume_sweep
from console.sweep.engine_setup import EngineGone, Stopped, SweepEngine
from console.sweep.point import FIDELITY_S, STOP_AND_START_S, SWITCH_S, SweepPoint, expected_s, in_order
from console.sweep.spec import SweepSpec
from console.sweep.state import (
    PointFigures,
    PointState,
    PointStatus,
    SweepState,
    figures_of_measurement,
    figures_of_row,
    status_of,
)

NOT_REACHED = "not reached: the sweep ended before"


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The points of a sweep in the order of measurement, and those that an earlier part of the sweep has measured."""

    sweep_id: str
    name: str
    points: tuple[SweepPoint, ...]
    done: Mapping[str, PointFigures]
    """Figures of measured points, by the point's hash."""
    fidelity: bool = False

    @property
    def switch_s(self) -> float:
        """Estimated time of a new deployment: the switch and, if requested, its fidelity."""
        return SWITCH_S + (FIDELITY_S if self.fidelity else 0.0)

    @property
    def left(self) -> list[SweepPoint]:
        """The points that are not measured yet."""
        return [point for point in self.points if point.hash not in self.done]


def plan_sweep(spec: SweepSpec, store: Store | None, *, resume: bool = False, kind: str = SWEEP) -> SweepPlan:
    """Orders the points and stores the sweep. Raises StoreError.

    With `resume`, the newest sweep of that name continues. Points are identified by their content, so an edited
    specification measures only new points, and those that failed or were interrupted.
    """
    points = in_order(spec.points, spec.seed)
    sweep_id = newest_sweep(store, spec.name) if resume and store is not None else ""
    done: dict[str, PointFigures] = {}
    if store is not None and sweep_id:
        rows = {row.run_id: row for row in list_runs(store, RunFilter(sweep=sweep_id))}
        hashes = {point.hash for point in points}
        done = {
            point_hash: figures_of_row(rows[run_id])
            for point_hash, run_id in points_done(store, sweep_id).items()
            if point_hash in hashes
        }
        resume_sweep(store, sweep_id, len(points), spec.text)
    else:
        sweep_id = f"s-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        if store is not None:
            begin_sweep(store, sweep_id, spec.name, utc_now(), spec.seed, len(points), spec.text, kind)
    return SweepPlan(sweep_id, spec.name, points, done, spec.fidelity)


class Sweep:
    """Runs one plan on one session, on the event loop's thread. `changed` is called with every new snapshot."""

    def __init__(
        self,
        session: Session,
        plan: SweepPlan,
        store: Store | None = None,
        changed: Callable[[SweepState], None] = lambda state: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        points = tuple(_initial_state(point, plan.done.get(point.hash)) for point in plan.points)
        self.state = SweepState(plan.sweep_id, plan.name, points)
        """The newest snapshot."""
        self._plan = plan
        self._session = session
        self._store = store
        self._changed = changed
        self._clock = clock
        self._stop = asyncio.Event()
        self._not_paused = asyncio.Event()
        self._not_paused.set()
        self._engine = SweepEngine(session, self._stop, self._doing)
        self._overheads_s: list[float] = []
        self._switches_s: list[float] = []
        self.state = replace(self.state, left_s=self._left_s(None))

    # ---- commands of a front end

    def finish_point(self) -> None:
        """Ends the sweep after the running point."""
        self._not_paused.set()
        if not self.state.ending:
            self._publish(ending=True, paused=False)

    def stop_now(self) -> None:
        """Ends the sweep now; what the running point has measured so far is kept."""
        self._stop.set()
        self.finish_point()

    def pause(self) -> None:
        """Pauses the sweep after the running point."""
        self._not_paused.clear()
        self._publish(paused=True)

    def resume(self) -> None:
        """Continues a paused sweep."""
        self._not_paused.set()
        self._publish(paused=False)

    def skip(self, index: int) -> None:
        """Skips a waiting point."""
        if self.state.points[index].status is PointStatus.WAITING:
            self._set(index, status=PointStatus.SKIPPED, message="skipped on request")

    async def run(self) -> SweepState:
        """Measures every waiting point and returns the last snapshot, which also reports the failures of points.

        However it ends, also by an exception of `changed` or a cancellation: the load is stopped, a remote engine is
        restored to its initial state, and the sweep has ended in its snapshot and in the store.
        """
        rest, running, trouble = NOT_REACHED, PointStatus.SKIPPED, ""
        try:
            await asyncio.to_thread(git_revision, Path.cwd())  # cached here, so that git does not run under load
            await self._measure_all()
        except EngineGone as gone:
            rest, running = str(gone), PointStatus.FAILED
        except Stopped:  # the point that was being prepared is skipped like the rest
            rest = NOT_REACHED
        except Exception as error:
            rest, running = f"{type(error).__name__}: {error}", PointStatus.FAILED
            raise
        finally:
            try:
                trouble = await run_to_completion(self._engine.restore())
            finally:
                self._end(rest, running, trouble)
        return self.state

    async def _measure_all(self) -> None:
        for index in range(len(self.state.points)):
            await self._not_paused.wait()
            if self.state.ending:
                return
            if self.state.points[index].status is PointStatus.WAITING:
                await self._measure(index)

    def _end(self, rest: str, running: PointStatus, trouble: str) -> None:
        """Ends the sweep. `rest`: message of the unmeasured points; `running`: new status of the running point.

        Publishes once and last, so that an exception of `changed` does not keep the sweep from ending.
        """
        unmeasured = {PointStatus.WAITING: PointStatus.SKIPPED, PointStatus.RUNNING: running}
        points = tuple(
            replace(one, status=unmeasured[one.status], message=rest) if one.status in unmeasured else one
            for one in self.state.points
        )
        if self._store is not None:
            try:
                end_sweep(self._store, self.state.sweep_id, utc_now())
            except StoreError as error:
                trouble = "; ".join(filter(None, (trouble, str(error))))
        self._publish(points=points, trouble=trouble or self.state.trouble, ended=True, doing="", left_s=0.0)

    # ---- one point

    async def _measure(self, index: int) -> None:
        point, began_s = self.state.points[index].point, self._clock()
        self._publish(doing="preparing")
        self._set(index, status=PointStatus.RUNNING)
        log = self._session.frame.log
        log_from = log[-1].sequence + 1 if log else 0
        refusal = await self._engine.prepare(point)
        fidelity = await self._engine.fidelity() if self._plan.fidelity and not refusal else None
        ready_s = self._clock()
        recorder = self._recorder(point, log_from)
        measurement = await self._run(point, refusal, recorder)
        if fidelity is not None:
            measurement = replace(measurement, fidelity=fidelity["cosine"]["mean"])
        self._keep(recorder, measurement, fidelity)
        if self._engine.switched and not refusal:
            self._switches_s.append(ready_s - began_s)
        if not measurement.failure:
            self._overheads_s.append(max(self._clock() - ready_s - point.load_s, 0.0))
        self._set_result(index, measurement)

    async def _run(self, point: SweepPoint, refusal: str, recorder: Recorder | None) -> Measurement:
        """Returns the measurement of a point; after a refusal, a failed one with the reason."""
        if not refusal:
            try:
                return await run(self._session, point.run, self._progress, self._stop, recorder)
            except CommandRefused as error:
                refusal = str(error)
        live = self._session.frame.engine
        requested = Engine(requested=point.target, cpu_model=live.cpu_model, cores=live.cores, machine=live.machine)
        return unmeasured(point.run, requested, refusal)

    def _recorder(self, point: SweepPoint, log_from: int) -> Recorder | None:
        if self._store is None:
            return None
        return Recorder(self._store, point.run, sweep_id=self.state.sweep_id, cell_hash=point.hash, log_from=log_from)

    def _keep(self, recorder: Recorder | None, measurement: Measurement, fidelity: Mapping[str, Any] | None) -> None:
        if recorder is None:
            return
        try:
            spill = recorder.finish(measurement, self._session.frame.log, fidelity)
        except OSError as error:
            self._publish(trouble=f"{recorder.trouble}; run {measurement.run_id} is lost ({error})")
        else:
            if spill is not None:
                kept = f"this run is kept in {spill}: import it with embedconsole runs restore {spill}"
                self._publish(trouble=f"{recorder.trouble}; {kept}")

    def _set_result(self, index: int, measurement: Measurement) -> None:
        figures = figures_of_measurement(measurement)
        status = PointStatus.SKIPPED if measurement.interrupted else status_of(figures)
        message = "interrupted" if measurement.interrupted else measurement.failure
        warnings = measurement.engine.warnings if not measurement.failure else ()
        fell_back = "; ".join(notice.message for notice in warnings)
        self._set(index, status=status, figures=figures, message=message, fell_back=fell_back)

    # ---- snapshots

    def _progress(self, frame: Frame, left_s: float | None) -> None:
        warming_up = left_s is None or frame.load.warming_up
        rate = frame.window.texts_per_s
        shown = f", {rate:,.0f} texts/s" if rate is not None else ""
        self._publish(doing=("warming up" if warming_up else "measuring") + shown, left_s=self._left_s(left_s))

    def _doing(self, step: str) -> None:
        self._publish(doing=step)

    def _left_s(self, of_running_s: float | None) -> float:
        """Returns the expected duration of the rest; `of_running_s` is the rest of the running point."""
        waiting = [one.point for one in self.state.points if one.status is PointStatus.WAITING]
        overhead_s = fmean(self._overheads_s) if self._overheads_s else STOP_AND_START_S
        switch_s = fmean(self._switches_s) if self._switches_s else self._plan.switch_s
        return (of_running_s or 0.0) + expected_s(waiting, self._engine.live, overhead_s, switch_s)

    def _set(self, index: int, **changes: object) -> None:
        points = list(self.state.points)
        points[index] = replace(points[index], **changes)  # type: ignore[arg-type]  # fields of PointState
        self._publish(points=tuple(points))

    def _publish(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]  # fields of SweepState
        self._changed(self.state)


def _initial_state(point: SweepPoint, figures: PointFigures | None) -> PointState:
    """Returns a waiting point, or a measured one if an earlier part of the sweep has its figures."""
    if figures is None:
        return PointState(point)
    requested, effective = point.target, figures.effective
    differs = requested.cell and (requested.backend, requested.precision) != (effective.backend, effective.precision)
    fell_back = f"{requested.cell} was requested, {effective.cell} ran" if differs else ""
    return PointState(point, status_of(figures), figures, resumed=True, fell_back=fell_back)
