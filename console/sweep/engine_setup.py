"""A sweep's hold on its engine: what a cell asks for is made to serve, and a remote engine is left as it was found."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from console.model.engine import DOWN, Deployment, Engine, EngineState
from console.model.errors import CommandRefused
from console.session.session import Session
from console.sweep.cell import SweepCell

REMOTE_PATIENCE_S = 60.0
RESTORE_PATIENCE_S = 60.0
_POLL_S = 0.1
_REFUSALS_AFTER_CANCELLING = 50
_BOUNDS = ("max_batch_tokens", "max_batch_items")
"""Knobs that a serving plan sets where nobody did."""


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
        self._found: Engine | None = None
        """As it served when the first cell was prepared."""
        self._cancelled_a_switch = False
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
            self._save_initial()
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

    async def restore(self) -> str:
        """Gives a remote engine back the knobs and the deployment that it had. Empty, or why they are not as found.

        Each step is tried whatever became of the one before, for at most RESTORE_PATIENCE_S.
        """
        found = self._found
        if found is None or not self._session.frame.engine.remote:
            return ""
        troubles = [
            await _tried(self._end_switch(), "a switch of this sweep is still under way"),
            await _tried(self._turn_back(), "the engine keeps this sweep's batching knobs"),
            await _tried(
                self._switch_back(found), f"the engine does not serve {found.requested.cell} again, as it was found"
            ),
        ]
        return "; ".join(filter(None, troubles))

    async def _end_switch(self) -> None:
        """One that was begun for a cell: cancelled, or waited for where it serves already."""
        with suppress(CommandRefused):
            await self._session.cancel_switch()
            self._cancelled_a_switch = True
        await self._session.wait_until_switched()
        while self._session.frame.engine.state is EngineState.SWITCHING:  # noqa: ASYNC110 - frames have no event
            await asyncio.sleep(_POLL_S)

    async def _turn_back(self) -> None:
        """All that was ever turned: of a knob that was being turned when the sweep ended, nobody knows where it is."""
        if self._turned:
            await self._session.configure(**self._knobs_found)

    async def _switch_back(self, found: Engine) -> None:
        """Raises CommandRefused.

        The model is named only where another one is live now, and the counts only where the engine would choose
        others: what was left to the engine is left to it again.
        """
        if self._is_as(found):
            return
        same_model = self._session.frame.engine.effective.model == found.effective.model
        model = "" if same_model else found.requested.model or found.effective.model
        target = replace(found.requested, model=model)
        try:
            self._doing(f"switching back to {found.requested.cell}")
        finally:
            await self._switch_to_one_of(dict.fromkeys((replace(target, instances=0, threads=0), target)), found)

    async def _switch_to_one_of(self, targets: Iterable[Deployment], found: Engine) -> None:
        for target in targets:
            await self._switch_again(target)
            if self._is_as(found):
                return
        engine = self._session.frame.engine
        if engine.effective != found.effective:
            raise CommandRefused(engine.message or f"it serves {engine.effective.cell}")

    async def _switch_again(self, target: Deployment) -> None:
        """An engine takes a moment to let go of a switch that was cancelled, and refuses another one until then."""
        refusals_left = _REFUSALS_AFTER_CANCELLING if self._cancelled_a_switch else 0
        while True:
            try:
                await self._session.switch(target, fresh=True)
            except CommandRefused:
                if not refusals_left:
                    raise
                refusals_left -= 1
                await asyncio.sleep(_POLL_S)
            else:
                break
        await self._session.wait_until_switched()

    def _is_as(self, found: Engine) -> bool:
        """Whether the engine serves the same cell in the same way, asked for by the same name."""
        now = self._session.frame.engine
        return (now.effective, now.plan, now.requested.cell) == (found.effective, found.plan, found.requested.cell)

    @property
    def _knobs_found(self) -> dict[str, Any]:
        """Of the knobs that were turned. What the plan itself had set is the plan's to set again: 0 asks for that."""
        if self._found is None:
            return {}
        batching, plan = self._found.batching, self._found.plan
        of_plan = {name for name in _BOUNDS if getattr(batching, name) == getattr(plan, name)}
        return {name: 0 if name in of_plan else getattr(batching, name) for name in self._turned}

    async def _serve(self, cell: SweepCell) -> None:
        """Raises CommandRefused for an engine that does not start so."""
        session = self._session
        if session.frame.engine.state in DOWN:
            self.live = None
            if session.frame.engine.remote:
                await self._wait_for_remote()
            else:
                self.switched = True
                self._doing(f"starting the engine: {cell.target.cell or 'auto'}")
                await session.restart_engine(cell.engine_spec)
        await self._unless_stopped(session.wait_until_ready())
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
        while self._session.frame.engine.state in DOWN:
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
            await self._unless_stopped(self._session.wait_until_switched())
        engine = self._session.frame.engine
        if engine.state is not EngineState.RUNNING or engine.message:
            raise CommandRefused(engine.message or f"the engine is {engine.state} after the switch")
        self.live = cell.target

    async def _configure(self, cell: SweepCell) -> None:
        self._turned |= set(cell.knobs)
        await self._turn({**self._knobs_found, **cell.knobs})

    async def _turn(self, knobs: dict[str, Any]) -> None:
        now = self._session.frame.engine.batching
        if changed := {name: value for name, value in knobs.items() if getattr(now, name) != value}:
            await self._session.configure(**changed)

    def _save_initial(self) -> None:
        if self._found is None:
            self._found = self._session.frame.engine

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


async def _tried(step: Coroutine[Any, Any, None], undone: str) -> str:
    """Empty, or what is undone and why."""
    try:
        async with asyncio.timeout(RESTORE_PATIENCE_S):
            await step
    except CommandRefused as refusal:
        return f"{undone}: {refusal}"
    except TimeoutError:
        return f"{undone}: it took longer than {RESTORE_PATIENCE_S:.0f} s"
    return ""
