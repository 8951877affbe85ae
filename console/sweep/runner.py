"""A sweep: its cells measured one after the other on one engine, each stored as it ends.

It writes to no terminal: a front end draws its snapshots.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from console.measure.cleanup import carry_out
from console.measure.environment import git_revision
from console.measure.recorder import Recorder, utc_now
from console.measure.run import Measurement, run, unmeasured
from console.model.engine import Engine
from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.session.session import Session
from console.store.database import Store, StoreError
from console.store.read import RunFilter, cells_done, list_runs, newest_sweep
from console.store.write import begin_sweep, end_sweep, resume_sweep
from console.sweep.cell import FIDELITY_S, STOP_AND_START_S, SWITCH_S, SweepCell, expected_s, in_order
from console.sweep.engine_setup import EngineGone, Stopped, SweepEngine
from console.sweep.spec import SweepSpec
from console.sweep.state import (
    CellFigures,
    CellState,
    CellStatus,
    SweepState,
    figures_of_measurement,
    figures_of_row,
    status_of,
)

NOT_REACHED = "not reached: the sweep was ended before"


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What is to be done, in which order, and what an earlier part of the same sweep has done of it."""

    sweep_id: str
    name: str
    cells: tuple[SweepCell, ...]
    done: Mapping[str, CellFigures]
    """By cell hash."""
    fidelity: bool = False

    @property
    def switch_s(self) -> float:
        """A guess at what a new deployment costs."""
        return SWITCH_S + (FIDELITY_S if self.fidelity else 0.0)

    @property
    def left(self) -> list[SweepCell]:
        return [cell for cell in self.cells if cell.hash not in self.done]


def plan_sweep(spec: SweepSpec, store: Store | None, *, resume: bool = False) -> SweepPlan:
    """Puts the cells in order and the sweep into the store. Raises StoreError.

    `resume`: the newest sweep of that name goes on. Its cells are known by their content, so an edited specification
    measures what is new; what failed or was interrupted is measured again.
    """
    cells = in_order(spec.cells, spec.seed)
    sweep_id = newest_sweep(store, spec.name) if resume and store is not None else ""
    done: dict[str, CellFigures] = {}
    if store is not None and sweep_id:
        rows = {row.run_id: row for row in list_runs(store, RunFilter(sweep=sweep_id))}
        wanted = {cell.hash for cell in cells}
        done = {
            cell_hash: figures_of_row(rows[run_id])
            for cell_hash, run_id in cells_done(store, sweep_id).items()
            if cell_hash in wanted
        }
        resume_sweep(store, sweep_id, len(cells), spec.text)
    else:
        sweep_id = f"s-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        if store is not None:
            begin_sweep(store, sweep_id, spec.name, utc_now(), spec.seed, len(cells), spec.text)
    return SweepPlan(sweep_id, spec.name, cells, done, spec.fidelity)


class Sweep:
    """Runs one plan on one session. `changed` is told of every new snapshot; all belongs to the event loop's thread."""

    def __init__(
        self,
        session: Session,
        plan: SweepPlan,
        store: Store | None = None,
        changed: Callable[[SweepState], None] = lambda state: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        cells = tuple(_before(cell, plan.done.get(cell.hash)) for cell in plan.cells)
        self.state = SweepState(plan.sweep_id, plan.name, cells)
        """The newest snapshot."""
        self._plan = plan
        self._session = session
        self._store = store
        self._changed = changed
        self._clock = clock
        self._stop = asyncio.Event()
        self._going = asyncio.Event()
        self._going.set()
        self._engine = SweepEngine(session, self._stop, self._doing)
        self._beside: list[float] = []
        self._switches: list[float] = []
        self.state = replace(self.state, left_s=self._left_s(None))

    # ---- what a front end may ask

    def finish_cell(self) -> None:
        """Ends the sweep after the running cell."""
        self._going.set()
        if not self.state.ending:
            self._publish(ending=True, paused=False)

    def stop_now(self) -> None:
        """Ends the sweep at once; what the running cell has measured so far is kept."""
        self._stop.set()
        self.finish_cell()

    def pause(self) -> None:
        """Takes effect after the running cell."""
        self._going.clear()
        self._publish(paused=True)

    def go_on(self) -> None:
        self._going.set()
        self._publish(paused=False)

    def skip(self, place: int) -> None:
        """Leaves out a cell that is waiting."""
        if self.state.cells[place].status is CellStatus.WAITING:
            self._set(place, status=CellStatus.SKIPPED, message="skipped on request")

    async def run(self) -> SweepState:
        """Measures every waiting cell; returns the last snapshot. Trouble with cells is told in it, not raised.

        Whatever ends it, a fault of `changed` and a cancellation included: the load is off, a remote engine is given
        back as it was found, and the sweep is ended in its snapshot and in the store.
        """
        rest, running, trouble = NOT_REACHED, CellStatus.SKIPPED, ""
        try:
            await asyncio.to_thread(git_revision, Path.cwd())  # asked once, and not while a load runs
            await self._measure_all()
        except EngineGone as gone:
            rest, running = str(gone), CellStatus.FAILED
        except Stopped:  # the cell that was being prepared is left out with the rest
            rest = NOT_REACHED
        except Exception as error:
            rest, running = f"{type(error).__name__}: {error}", CellStatus.FAILED
            raise
        finally:
            try:
                trouble = await carry_out(self._engine.restore())
            finally:
                self._end(rest, running, trouble)
        return self.state

    async def _measure_all(self) -> None:
        for place in range(len(self.state.cells)):
            await self._going.wait()
            if self.state.ending:
                return
            if self.state.cells[place].status is CellStatus.WAITING:
                await self._measure(place)

    def _end(self, rest: str, running: CellStatus, trouble: str) -> None:
        """`rest`: why the cells that are left are left out; `running`: what becomes of the one that was under way.

        Published once, after all is done: a listener that fails keeps nothing from being ended.
        """
        left_out = {CellStatus.WAITING: CellStatus.SKIPPED, CellStatus.RUNNING: running}
        cells = tuple(
            replace(one, status=left_out[one.status], message=rest) if one.status in left_out else one
            for one in self.state.cells
        )
        if self._store is not None:
            try:
                end_sweep(self._store, self.state.sweep_id, utc_now())
            except StoreError as error:
                trouble = "; ".join(filter(None, (trouble, str(error))))
        self._publish(cells=cells, trouble=trouble or self.state.trouble, ended=True, doing="", left_s=0.0)

    # ---- one cell

    async def _measure(self, place: int) -> None:
        cell, began_s = self.state.cells[place].cell, self._clock()
        self._publish(doing="preparing")
        self._set(place, status=CellStatus.RUNNING)
        log = self._session.frame.log
        log_from = log[-1].sequence + 1 if log else 0
        refusal = await self._engine.prepare(cell)
        fidelity = await self._engine.fidelity() if self._plan.fidelity and not refusal else None
        ready_s = self._clock()
        recorder = self._recorder(cell, log_from)
        measurement = await self._run(cell, refusal, recorder)
        if fidelity is not None:
            measurement = replace(measurement, fidelity=fidelity["cosine"]["mean"])
        self._keep(recorder, measurement, fidelity)
        if self._engine.switched and not refusal:
            self._switches.append(ready_s - began_s)
        if not measurement.failure:
            self._beside.append(max(self._clock() - ready_s - cell.load_s, 0.0))
        self._settle(place, measurement)

    async def _run(self, cell: SweepCell, refusal: str, recorder: Recorder | None) -> Measurement:
        """Whatever happens, it is a measurement: one that failed says why."""
        if not refusal:
            try:
                return await run(self._session, cell.run, self._progress, self._stop, recorder)
            except CommandRefused as error:
                refusal = str(error)
        known = self._session.frame.engine
        asked = Engine(requested=cell.target, cpu_model=known.cpu_model, cores=known.cores, machine=known.machine)
        return unmeasured(cell.run, asked, refusal)

    def _recorder(self, cell: SweepCell, log_from: int) -> Recorder | None:
        if self._store is None:
            return None
        return Recorder(self._store, cell.run, sweep_id=self.state.sweep_id, cell_hash=cell.hash, log_from=log_from)

    def _keep(self, recorder: Recorder | None, measurement: Measurement, fidelity: Mapping[str, Any] | None) -> None:
        if recorder is None:
            return
        try:
            aside = recorder.finish(measurement, self._session.frame.log, fidelity)
        except OSError as error:
            self._publish(trouble=f"{recorder.trouble}; run {measurement.run_id} is lost ({error})")
        else:
            if aside is not None:
                kept = f"this run is kept in {aside}: embedconsole runs restore {aside}"
                self._publish(trouble=f"{recorder.trouble}; {kept}")

    def _settle(self, place: int, measurement: Measurement) -> None:
        figures = figures_of_measurement(measurement)
        status = CellStatus.SKIPPED if measurement.interrupted else status_of(figures)
        message = "interrupted" if measurement.interrupted else measurement.failure
        warnings = measurement.engine.warnings if not measurement.failure else ()
        fell_back = "; ".join(notice.message for notice in warnings)
        self._set(place, status=status, figures=figures, message=message, fell_back=fell_back)

    # ---- snapshots

    def _progress(self, frame: Frame, left_s: float | None) -> None:
        warming = left_s is None or frame.load.warming_up
        rate = frame.window.texts_per_s
        shown = f", {rate:,.0f} texts/s" if rate is not None else ""
        self._publish(doing=("warming up" if warming else "measuring") + shown, left_s=self._left_s(left_s))

    def _doing(self, words: str) -> None:
        self._publish(doing=words)

    def _left_s(self, of_this_cell_s: float | None) -> float:
        waiting = [one.cell for one in self.state.cells if one.status is CellStatus.WAITING]
        beside_s = sum(self._beside) / len(self._beside) if self._beside else STOP_AND_START_S
        switch_s = sum(self._switches) / len(self._switches) if self._switches else self._plan.switch_s
        return (of_this_cell_s or 0.0) + expected_s(waiting, self._engine.live, beside_s, switch_s)

    def _set(self, place: int, **changes: object) -> None:
        cells = list(self.state.cells)
        cells[place] = replace(cells[place], **changes)  # type: ignore[arg-type]  # fields of CellState, named above
        self._publish(cells=tuple(cells))

    def _publish(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]  # fields of SweepState, named above
        self._changed(self.state)


def _before(cell: SweepCell, figures: CellFigures | None) -> CellState:
    if figures is None:
        return CellState(cell)
    asked, ran = cell.target, figures.effective
    otherwise = asked.cell and (asked.backend, asked.precision) != (ran.backend, ran.precision)
    fell_back = f"{asked.cell} was asked for, {ran.cell} ran" if otherwise else ""
    return CellState(cell, status_of(figures), figures, resumed=True, fell_back=fell_back)
