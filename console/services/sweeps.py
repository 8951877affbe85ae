"""Sweeps on a session that a console has open already: looked at first, then run to their end, one at a time."""

import asyncio
from pathlib import Path

from console.model.errors import CommandRefused
from console.model.modes import is_sweep_file
from console.services.ports import SweepOffer
from console.services.runs import RunLibrary
from console.session.session import Session
from console.store.database import Store, StoreError
from console.store.read import cells_done, newest_sweep
from console.sweep.cell import expected_s, in_order
from console.sweep.runner import Sweep, SweepPlan, plan_sweep
from console.sweep.spec import PRESETS, SpecError, SweepSpec, preset, read_spec
from console.sweep.state import SweepState


class SweepRunner:
    """Implements SweepsPort. All of it belongs to the event loop's thread."""

    def __init__(self, session: Session, path: Path) -> None:
        self._session = session
        self._path = path
        self._busy = False
        """From the moment that a sweep is asked for until it has ended, so that no second one begins meanwhile."""
        self._ended_early = False
        """The sweep was told to end before it began."""
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
                done = set(cells_done(store, sweep_id)) if sweep_id else set()
        except StoreError as error:
            raise CommandRefused(str(error)) from error
        cells = in_order(spec.cells, spec.seed)
        left = [cell for cell in cells if cell.hash not in done]
        switch_s = SweepPlan("", spec.name, cells, {}, spec.fidelity).switch_s
        about = next((line[1:].strip() for line in spec.text.splitlines() if line.startswith("#")), "")
        return SweepOffer(
            source=source,
            name=spec.name,
            cells=len(cells),
            deployments=len({cell.target for cell in cells}),
            measured=len(cells) - len(left),
            expected_s=expected_s(cells, None, switch_s=switch_s),
            rest_s=expected_s(left, None, switch_s=switch_s),
            fidelity=spec.fidelity,
            about=about,
        )

    async def sweep(self, source: str, *, resume: bool) -> None:
        if self._busy:
            raise CommandRefused("A sweep is running already: {sweep_stop} ends it")
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
            raise CommandRefused("No sweep is running: {sweep_new} begins one")
        return self._sweep

    def pause(self) -> None:
        self._running.pause()

    def go_on(self) -> None:
        self._running.go_on()

    def skip(self, path: int) -> None:
        self._running.skip(path)

    def finish_cell(self) -> None:
        if not self._ends_early():
            self._running.finish_cell()

    def stop_now(self) -> None:
        if not self._ends_early():
            self._running.stop_now()

    def _ends_early(self) -> bool:
        """True where a sweep is being prepared: it does not begin then."""
        if self._sweep is None and self._busy:
            self._ended_early = True
        return self._sweep is None and self._busy


class ExperimentContext:
    """Implements ExperimentsPort on one store and one session."""

    def __init__(self, session: Session, path: Path) -> None:
        self.runs = RunLibrary(path)
        self.sweeps = SweepRunner(session, path)


def _read(source: str) -> SweepSpec:
    """Raises CommandRefused with the line and the key."""
    try:
        return read_spec(Path(source).expanduser()) if is_sweep_file(source) else preset(source)
    except SpecError as error:
        raise CommandRefused(str(error)) from error
