"""Sweeps on the console's open session: a preview, then the sweep itself, one at a time."""

import asyncio
from pathlib import Path

from console.model.errors import CommandRefused
from console.model.modes import is_sweep_file
from console.services.live_recorder import LiveRecorder
from console.services.ports import SweepOffer
from console.services.runs import RunLibrary
from console.session.session import Session
from console.store.database import Store, StoreError
from console.store.read import newest_sweep, points_done
from console.sweep.point import expected_s, in_order
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

    @property
    def state(self) -> SweepState | None:
        return self._state

    @property
    def presets(self) -> tuple[str, ...]:
        return PRESETS

    async def offer(self, source: str) -> SweepOffer:
        return await asyncio.to_thread(self._offer, source)

    def _offer(self, source: str) -> SweepOffer:
        spec = _read(source)
        try:
            with Store.open(self._path) as store:
                sweep_id = newest_sweep(store, spec.name)
                done = set(points_done(store, sweep_id)) if sweep_id else set()
        except StoreError as error:
            raise CommandRefused(str(error)) from error
        points = in_order(spec.points, spec.seed)
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
        )

    async def sweep(self, source: str, *, resume: bool) -> None:
        if self._busy:
            raise CommandRefused("A sweep is running already: {sweep_stop} stops it")
        self._busy, self._ended_early = True, False
        try:
            spec = await asyncio.to_thread(_read, source)
            if self._session.frame.load.running:
                await self._session.stop_load()
            if not self._ended_early:
                await self._run(spec, resume=resume)
        finally:
            self._busy, self._sweep = False, None

    async def _run(self, spec: SweepSpec, *, resume: bool) -> None:
        try:
            with Store.open(self._path) as store:
                self._sweep = Sweep(self._session, plan_sweep(spec, store, resume=resume), store, self._changed)
                self._changed(self._sweep.state)
                await self._sweep.run()
        except StoreError as error:
            raise CommandRefused(str(error)) from error

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

    def stop_now(self) -> None:
        if not self._ends_early():
            self._running.stop_now()

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
