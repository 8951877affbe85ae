"""Prepares the engine for each point of a sweep, and restores a remote engine's initial state at the end."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from console.model.engine import DOWN, Deployment, Engine, EngineState
from console.model.errors import CommandRefused
from console.session.session import Session
from console.sweep.point import SweepPoint

REMOTE_TIMEOUT_S = 60.0
"""How long to wait for a remote engine that has stopped answering."""
RESTORE_TIMEOUT_S = 60.0
"""Limit of each step that restores a remote engine."""
_POLL_S = 0.1
_REFUSALS_AFTER_CANCELLING = 50
"""How often a switch is retried, every _POLL_S, while the engine still ends a cancelled switch."""
_BOUNDS = ("max_batch_tokens", "max_batch_items")
"""Batching settings that a serving plan sets unless the user does."""


class EngineGone(Exception):
    """A remote engine does not answer and cannot be started from here, so no further point can be measured."""


class Stopped(Exception):
    """The sweep was stopped before the running point was measured."""


class SweepEngine:
    """Starts, switches, configures and restarts the engine. Call its methods on the event loop's thread."""

    def __init__(self, session: Session, stop: asyncio.Event, doing: Callable[[str], None]) -> None:
        self.live: Deployment | None = None
        """The deployment that was requested last and is live; None if none is."""
        self.switched = False
        """Whether the last `prepare` started or switched the engine, or `fidelity` measured."""
        self._session = session
        self._stop = stop
        self._doing = doing
        self._refused: dict[tuple[Deployment, bool], str] = {}
        self._initial: Engine | None = None
        """The engine's state when the first point was prepared."""
        self._cancelled_a_switch = False
        self._changed_knobs: set[str] = set()
        self._fidelity: dict[Deployment, dict[str, Any] | None] = {}

    async def prepare(self, point: SweepPoint) -> str:
        """Makes the engine serve the point's deployment. Returns an empty string, or why the engine refused.

        A deployment that was refused once is not requested again. Raises EngineGone and Stopped.
        """
        self.switched = False
        requested = (point.target, point.strict)
        if requested in self._refused:
            return self._refused[requested]
        try:
            await self._serve(point)
            self._save_initial()
            await self._switch(point)
            await self._configure(point)
        except CommandRefused as refusal:
            if self._session.frame.engine.state is not EngineState.LOST:  # a lost engine may succeed after a restart
                self._refused[requested] = str(refusal)
            return str(refusal)
        return ""

    async def fidelity(self) -> dict[str, Any] | None:
        """Returns the fidelity of the live deployment, measured once for each; None if the engine refuses.

        Raises Stopped.
        """
        effective = self._session.frame.engine.effective
        if effective not in self._fidelity:
            results: list[dict[str, Any]] = []
            self.switched = True
            with suppress(CommandRefused):
                await self._unless_stopped(self._measure_fidelity(results))
            self._fidelity[effective] = results[0] if results else None
        return self._fidelity[effective]

    async def _measure_fidelity(self, results: list[dict[str, Any]]) -> None:
        results.append(await self._session.measure_fidelity(self._doing))

    async def restore(self) -> str:
        """Restores the initial batching settings and deployment of a remote engine. Returns what failed and why.

        Each step is tried even if an earlier one failed, for at most RESTORE_TIMEOUT_S.
        """
        initial = self._initial
        if initial is None or not self._session.frame.engine.remote:
            return ""
        failures = [
            await _attempt(self._end_switch(), "a switch of this sweep is still under way"),
            await _attempt(self._restore_knobs(), "the engine keeps this sweep's batching settings"),
            await _attempt(
                self._switch_back(initial), f"the engine does not serve {initial.requested.cell} again, as before"
            ),
        ]
        return "; ".join(filter(None, failures))

    async def _end_switch(self) -> None:
        """Cancels a switch of this sweep, or waits for it if it can no longer be cancelled."""
        with suppress(CommandRefused):
            await self._session.cancel_switch()
            self._cancelled_a_switch = True
        await self._session.wait_until_switched()
        while self._session.frame.engine.state is EngineState.SWITCHING:  # noqa: ASYNC110 - frames have no event
            await asyncio.sleep(_POLL_S)

    async def _restore_knobs(self) -> None:
        """Restores every setting that the sweep changed, also if a change may not have reached the engine."""
        if self._changed_knobs:
            await self._session.configure(**self._initial_knobs)

    async def _switch_back(self, initial: Engine) -> None:
        """Switches to the initial deployment. Raises CommandRefused.

        Names the model only if another one is live, and instances and threads only if the engine would choose others,
        so that what the engine chose initially is its choice again.
        """
        if self._serves_as(initial):
            return
        same_model = self._session.frame.engine.effective.model == initial.effective.model
        model = "" if same_model else initial.requested.model or initial.effective.model
        target = replace(initial.requested, model=model)
        try:
            self._doing(f"switching back to {initial.requested.cell}")
        finally:
            await self._switch_to_one_of(dict.fromkeys((replace(target, instances=0, threads=0), target)), initial)

    async def _switch_to_one_of(self, targets: Iterable[Deployment], initial: Engine) -> None:
        """Tries the targets in order until the engine serves as initially. Raises CommandRefused if none does."""
        for target in targets:
            await self._retry_switch(target)
            if self._serves_as(initial):
                return
        engine = self._session.frame.engine
        if engine.effective != initial.effective:
            raise CommandRefused(engine.message or f"it serves {engine.effective.cell}")

    async def _retry_switch(self, target: Deployment) -> None:
        """Switches, and retries while the engine refuses because it still ends a cancelled switch."""
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

    def _serves_as(self, initial: Engine) -> bool:
        """Whether deployment, plan and requested cell are the initial ones."""
        now = self._session.frame.engine
        return (now.effective, now.plan, now.requested.cell) == (
            initial.effective,
            initial.plan,
            initial.requested.cell,
        )

    @property
    def _initial_knobs(self) -> dict[str, Any]:
        """The initial values of the changed settings. 0 asks the serving plan for the bounds that it had set."""
        if self._initial is None:
            return {}
        batching, plan = self._initial.batching, self._initial.plan
        of_plan = {name for name in _BOUNDS if getattr(batching, name) == getattr(plan, name)}
        return {name: 0 if name in of_plan else getattr(batching, name) for name in self._changed_knobs}

    async def _serve(self, point: SweepPoint) -> None:
        """Starts the engine if it is down, and waits until it serves. Raises CommandRefused and EngineGone."""
        session = self._session
        if session.frame.engine.state in DOWN:
            self.live = None
            if session.frame.engine.remote:
                await self._wait_for_remote()
            else:
                self.switched = True
                self._doing(f"starting the engine: {point.target.cell or 'auto'}")
                await session.restart_engine(point.engine_spec)
        await self._unless_stopped(session.wait_until_ready())
        while session.frame.engine.state is EngineState.SWITCHING:  # another client's switch
            await self._pause()
        engine = session.frame.engine
        if engine.state is EngineState.RUNNING:
            self.live = point.target if self.switched else self.live
        elif engine.remote:
            raise EngineGone(engine.message)
        else:
            raise CommandRefused(engine.message or f"the engine is {engine.state}: its log may say why")

    async def _wait_for_remote(self) -> None:
        """Waits for an engine that has served before; one that never answered is probably a wrong address."""
        timeout_s = REMOTE_TIMEOUT_S if self._initial is not None else 0.0
        self._doing("waiting for the engine to answer again")
        waited_s = 0.0
        while self._session.frame.engine.state in DOWN:
            if waited_s >= timeout_s:
                raise EngineGone(self._session.frame.engine.message)
            await self._pause()
            waited_s += _POLL_S

    async def _switch(self, point: SweepPoint) -> None:
        """Switches to the point's deployment unless it is live. Raises CommandRefused and Stopped."""
        if point.target in (Deployment(), self.live):
            return
        self.switched = True
        self._doing(f"switching to {point.target.cell or 'another model'}")
        self.live = None
        try:
            await self._session.switch(point.target, strict=point.strict, fresh=True)
        finally:
            await self._unless_stopped(self._session.wait_until_switched())
        engine = self._session.frame.engine
        if engine.state is not EngineState.RUNNING or engine.message:
            raise CommandRefused(engine.message or f"the engine is {engine.state} after the switch")
        self.live = point.target

    async def _configure(self, point: SweepPoint) -> None:
        """Sets the point's batching settings, and resets the settings of earlier points."""
        self._changed_knobs |= set(point.knobs)
        now, knobs = self._session.frame.engine.batching, {**self._initial_knobs, **point.knobs}
        if changed := {name: value for name, value in knobs.items() if getattr(now, name) != value}:
            await self._session.configure(**changed)

    def _save_initial(self) -> None:
        if self._initial is None:
            self._initial = self._session.frame.engine

    async def _pause(self) -> None:
        await self._unless_stopped(asyncio.sleep(_POLL_S))

    async def _unless_stopped(self, step: Coroutine[Any, Any, None]) -> None:
        """Awaits a step. Cancels it and raises Stopped as soon as the sweep is stopped."""
        task, stop = asyncio.create_task(step), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (task, stop):
                one.cancel()
        if self._stop.is_set():
            raise Stopped
        await task


async def _attempt(step: Coroutine[Any, Any, None], failure: str) -> str:
    """Awaits a step of the restoration. Returns an empty string, or `failure` with the reason."""
    try:
        async with asyncio.timeout(RESTORE_TIMEOUT_S):
            await step
    except CommandRefused as refusal:
        return f"{failure}: {refusal}"
    except TimeoutError:
        return f"{failure}: it took longer than {RESTORE_TIMEOUT_S:.0f} s"
    return ""
