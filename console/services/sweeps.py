"""Sweeps on the console's open session: a preview, then the sweep itself, one at a time."""

import asyncio
from pathlib import Path

from console.measure.cleanup import run_to_completion
from console.model.engine import DOWN, Engine, EngineSpec
from console.model.errors import CommandRefused
from console.model.modes import is_sweep_file
from console.services.live_recorder import LiveRecorder
from console.services.ports import SweepOffer
from console.services.runs import RunLibrary
from console.session.session import Session
from console.store.database import Store, StoreError
from console.store.read import newest_sweep
from console.sweep.labels import inherited_text, knobs_text
from console.sweep.point import expected_s, in_order
from console.sweep.restore import StateBefore, restore_load, state_before
from console.sweep.resume import measured_points
from console.sweep.runner import Sweep, SweepPlan, plan_sweep
from console.sweep.spec import PRESETS, SpecError, SweepSpec, preset, read_spec
from console.sweep.state import SweepState


class SweepRunner:
    """Implements SweepsPort. Call its methods on the event loop's thread."""

    def __init__(self, session: Session, path: Path) -> None:
        self._session = session
        self._path = path
        self._busy = False
        """Whether a sweep is prepared or runs; no second one starts meanwhile."""
        self._ended_early = False
        """Whether the sweep was stopped while it was prepared."""
        self._sweep: Sweep | None = None
        self._state: SweepState | None = None
        self._before: StateBefore | None = None
        self._restores = True

    @property
    def before(self) -> StateBefore | None:
        return self._before

    @property
    def state(self) -> SweepState | None:
        return self._state

    @property
    def presets(self) -> tuple[str, ...]:
        return PRESETS

    async def offer(self, source: str) -> SweepOffer:
        return await asyncio.to_thread(self._offer, source, self._session.frame.engine, self._session.engine_spec)

    def _offer(self, source: str, engine: Engine, options: EngineSpec) -> SweepOffer:
        spec = _read(source)
        points = in_order(spec.points, spec.seed)
        found = None if engine.state in DOWN else engine
        try:
            with Store.open(self._path) as store:
                sweep_id = newest_sweep(store, spec.name)
                done = set(measured_points(store, sweep_id, points, found)) if sweep_id else set()
        except StoreError as error:
            raise CommandRefused(str(error)) from error
        left = [point for point in points if point.hash not in done]
        switch_s = SweepPlan("", spec.name, points, {}, spec.fidelity).switch_s
        about = next((line[1:].strip() for line in spec.text.splitlines() if line.startswith("#")), "")
        return SweepOffer(
            source=source,
            name=spec.name,
            points=len(points),
            deployments=len({point.target for point in points}),
            measured=len(points) - len(left),
            expected_s=expected_s(points, None, switch_s=switch_s),
            rest_s=expected_s(left, None, switch_s=switch_s),
            fidelity=spec.fidelity,
            about=about,
            knobs=knobs_text(points),
            inherited=inherited_text(points, engine, options),
        )

    async def sweep(self, source: str, *, resume: bool) -> None:
        if self._busy:
            raise CommandRefused("A sweep is running already: {sweep_stop} stops it")
        self._busy, self._ended_early, self._restores = True, False, True
        self._before = state_before(self._session)
        try:
            spec = await asyncio.to_thread(_read, source)
            if self._session.frame.load.running:
                await self._session.stop_load()
            if not self._ended_early:
                await self._run(spec, self._before.engine, resume=resume)
        finally:
            try:
                await run_to_completion(self._restore_load(self._before))
            finally:
                self._busy, self._sweep, self._before = False, None, None

    async def _run(self, spec: SweepSpec, engine: Engine, *, resume: bool) -> None:
        found = None if engine.state in DOWN else engine
        try:
            with Store.open(self._path) as store:
                plan = plan_sweep(spec, store, resume=resume, found=found)
                self._sweep = Sweep(self._session, plan, store, self._changed, restore_own=True)
                self._changed(self._sweep.state)
                await self._sweep.run()
        except StoreError as error:
            raise CommandRefused(str(error)) from error

    async def _restore_load(self, before: StateBefore) -> None:
        """Restores the load, unless the console quits; a refusal is logged, because the sweep itself has ended."""
        if not self._restores:
            return
        try:
            await restore_load(self._session, before)
        except CommandRefused as refusal:
            self._session.note(f"the load does not run again, as before the sweep: {refusal}", "warning")

    def _changed(self, state: SweepState) -> None:
        self._state = state

    @property
    def _running(self) -> Sweep:
        if self._sweep is None:
            raise CommandRefused("No sweep is running: {sweep_new} starts one")
        return self._sweep

    def pause(self) -> None:
        self._running.pause()

    def resume(self) -> None:
        self._running.resume()

    def skip(self, index: int) -> None:
        self._running.skip(index)

    def finish_point(self) -> None:
        if not self._ends_early():
            self._running.finish_point()

    def stop_now(self, *, restore: bool = True) -> None:
        self._restores = self._restores and restore
        if not self._ends_early():
            self._running.stop_now(restore=restore)

    def _ends_early(self) -> bool:
        """Returns whether a sweep is being prepared; if so, it will not start."""
        if self._sweep is None and self._busy:
            self._ended_early = True
        return self._sweep is None and self._busy


class Experiments:
    """Implements ExperimentsPort with one store and one session."""

    def __init__(self, session: Session, path: Path) -> None:
        self.runs = RunLibrary(path)
        self.sweeps = SweepRunner(session, path)
        self.live = LiveRecorder(session, path)


def _read(source: str) -> SweepSpec:
    """Reads a preset or a file. Raises CommandRefused with the line and the key."""
    try:
        return read_spec(Path(source).expanduser()) if is_sweep_file(source) else preset(source)
    except SpecError as error:
        raise CommandRefused(str(error)) from error
