"""A sweep's hold on its engine: what a cell asks for is made to serve, and a remote engine is left as it was found."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from console.engine_facts import Batching
from console.experiments.sweep_cell import SweepCell
from console.frame import Deployment, EngineState
from console.ports import CommandRefused
from console.session import Session

REMOTE_PATIENCE_S = 60.0
_POLL_S = 0.1
_DOWN = (EngineState.STOPPED, EngineState.LOST)


class EngineGone(Exception):
    """No cell can be measured any more: the engine is not ours to start, and it does not answer."""


class Stopped(Exception):
    """The sweep was told to stop at once."""


class SweepEngine:
    """Starts, switches, configures and restarts. All methods belong to the event loop's thread."""

    def __init__(self, session: Session, stop: asyncio.Event, doing: Callable[[str], None]) -> None:
        self.live: Deployment | None = None
        """What was asked for last, and serves."""
        self.switched = False
        """Whether the last `prepare` had to start or switch."""
        self._session = session
        self._stop = stop
        self._doing = doing
        self._refused: dict[tuple[Deployment, bool], str] = {}
        self._found: Deployment | None = None
        self._found_batching = Batching()
        self._turned: set[str] = set()
        self._fidelity: dict[Deployment, dict[str, Any] | None] = {}

    async def prepare(self, cell: SweepCell) -> str:
        """Empty when the engine serves what the cell asks for, else why it does not.

        What the engine refused once is not asked for again. Raises EngineGone and Stopped.
        """
        self.switched = False
        wanted = (cell.target, cell.strict)
        if wanted in self._refused:
            return self._refused[wanted]
        try:
            await self._serve(cell)
            self._remember_what_was_found()
            await self._switch(cell)
            await self._configure(cell)
        except CommandRefused as refusal:
            if self._session.frame.engine.state is not EngineState.LOST:  # a lost one may do better when it is back
                self._refused[wanted] = str(refusal)
            return str(refusal)
        return ""

    async def fidelity(self) -> dict[str, Any] | None:
        """Of what is live, measured once for each; None where the engine cannot tell. Raises Stopped."""
        effective = self._session.frame.engine.effective
        if effective not in self._fidelity:
            found: list[dict[str, Any]] = []
            self.switched = True
            with suppress(CommandRefused):
                await self._unless_stopped(self._measure_fidelity(found))
            self._fidelity[effective] = found[0] if found else None
        return self._fidelity[effective]

    async def _measure_fidelity(self, found: list[dict[str, Any]]) -> None:
        found.append(await self._session.measure_fidelity(self._doing))

    async def restore(self) -> None:
        """Gives a remote engine back the knobs and the deployment that it had; when stopped at once, only the knobs."""
        engine = self._session.frame.engine
        if not engine.remote or self._found is None or engine.state is not EngineState.RUNNING:
            return
        with suppress(CommandRefused):
            await self._turn({name: getattr(self._found_batching, name) for name in self._turned})
            if self.live not in (None, self._found, Deployment()) and not self._stop.is_set():
                self._doing(f"switching back to {self._found.cell}")
                await self._session.switch(self._found, fresh=True)
                await self._session.until_switched()

    async def _serve(self, cell: SweepCell) -> None:
        """Raises CommandRefused for an engine that does not start so."""
        session = self._session
        if session.frame.engine.state in _DOWN:
            self.live = None
            if session.frame.engine.remote:
                await self._wait_for_remote()
            else:
                self.switched = True
                self._doing(f"starting the engine: {cell.target.cell or 'auto'}")
                await session.restart_engine(cell.engine_spec)
        await self._unless_stopped(session.until_ready())
        while session.frame.engine.state is EngineState.SWITCHING:  # somebody else's switch
            await self._pause()
        engine = session.frame.engine
        if engine.state is EngineState.RUNNING:
            self.live = cell.target if self.switched else self.live
        elif engine.remote:
            raise EngineGone(engine.message)
        else:
            raise CommandRefused(engine.message or f"the engine is {engine.state}: its log may say why")

    async def _wait_for_remote(self) -> None:
        """One that has served comes back, perhaps; one that never did is the wrong address."""
        patience_s = REMOTE_PATIENCE_S if self._found is not None else 0.0
        self._doing("waiting for the engine to answer again")
        waited_s = 0.0
        while self._session.frame.engine.state in _DOWN:
            if waited_s >= patience_s:
                raise EngineGone(self._session.frame.engine.message)
            await self._pause()
            waited_s += _POLL_S

    async def _switch(self, cell: SweepCell) -> None:
        if cell.target in (Deployment(), self.live):
            return
        self.switched = True
        self._doing(f"switching to {cell.target.cell or 'another model'}")
        self.live = None
        try:
            await self._session.switch(cell.target, strict=cell.strict, fresh=True)
        finally:
            await self._unless_stopped(self._session.until_switched())
        engine = self._session.frame.engine
        if engine.state is not EngineState.RUNNING or engine.message:
            raise CommandRefused(engine.message or f"the engine is {engine.state} after the switch")
        self.live = cell.target

    async def _configure(self, cell: SweepCell) -> None:
        found = {name: getattr(self._found_batching, name) for name in self._turned}
        await self._turn({**found, **cell.knobs})
        self._turned |= set(cell.knobs)

    async def _turn(self, knobs: dict[str, Any]) -> None:
        now = self._session.frame.engine.batching
        if changed := {name: value for name, value in knobs.items() if getattr(now, name) != value}:
            await self._session.configure(**changed)

    def _remember_what_was_found(self) -> None:
        if self._found is None:
            engine = self._session.frame.engine
            self._found, self._found_batching = engine.requested, engine.batching

    async def _pause(self) -> None:
        await self._unless_stopped(asyncio.sleep(_POLL_S))

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Raises Stopped as soon as the sweep is told to."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (task, stop):
                one.cancel()
        if self._stop.is_set():
            raise Stopped
        await task
