"""Prepares the engine for each point of a sweep."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from console.model.engine import DOWN, Deployment, Engine, EngineSpec, EngineState
from console.model.errors import CommandRefused
from console.session.session import Session
from console.sweep.point import SweepPoint
from console.sweep.restore import EngineRestorer

REMOTE_TIMEOUT_S = 60.0
"""How long to wait for a remote engine that has stopped answering."""
_POLL_S = 0.1
_DEFAULT_KNOBS = {"coalesce": True, "max_wait_ms": 0.0, "max_batch_tokens": 0, "max_batch_items": 0}
"""The batching settings of a point that does not name them. 0: the bound of the serving plan."""


class EngineGone(Exception):
    """A remote engine does not answer and cannot be started from here, so no further point can be measured."""


class Stopped(Exception):
    """The sweep was stopped before the running point was measured."""


class SweepEngine:
    """Starts, switches, configures and restarts the engine. Call its methods on the event loop's thread."""

    def __init__(
        self, session: Session, stop: asyncio.Event, doing: Callable[[str], None], *, restore_own: bool = False
    ) -> None:
        """`restore_own`: `restore` also restores an engine that the session itself has started."""
        self.live: Deployment | None = None
        """The deployment that was requested last and is live; None if none is."""
        self.switched = False
        """Whether the last `prepare` started or switched the engine, or `fidelity` measured."""
        self._session = session
        self._stop = stop
        self._doing = doing
        self._refused: dict[tuple[Deployment, bool], str] = {}
        self._before = EngineRestorer(session, doing)
        self._options = session.engine_spec
        """The session's options before the sweep, which fill what a point does not name."""
        self._may_restore_own = restore_own
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
            self._before.save(started=self.switched)
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

    async def found(self) -> Engine | None:
        """Returns the engine as it was found; None if none serves. Waits for one that starts. Raises Stopped."""
        if self._session.frame.engine.state is EngineState.STARTING:
            await self._unless_stopped(self._session.wait_until_ready())
        engine = self._session.frame.engine
        return None if engine.state in DOWN else engine

    def keep_own(self) -> None:
        """Leaves an own engine as it is at the end, because it is about to be stopped or detached."""
        self._may_restore_own = False

    async def restore(self) -> str:
        """Restores the engine's initial state. Returns what failed and why."""
        if not self._may_restore_own and not self._session.frame.engine.remote:
            return ""
        return await self._before.restore()

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
                await session.restart_engine(self._start_options(point))
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
        timeout_s = REMOTE_TIMEOUT_S if self._before.initial is not None else 0.0
        self._doing("waiting for the engine to answer again")
        waited_s = 0.0
        while self._session.frame.engine.state in DOWN:
            if waited_s >= timeout_s:
                raise EngineGone(self._session.frame.engine.message)
            await self._pause()
            waited_s += _POLL_S

    def _start_options(self, point: SweepPoint) -> EngineSpec:
        """Returns the options to start an engine for the point; the session's own fill what it does not name."""
        named = {name: value for name, value in asdict(self._target(point)).items() if value not in ("", 0)}
        model, device, port = self._options.model, self._options.device, self._options.port
        return EngineSpec(**{"model": model, "device": device, **named}, strict=point.strict, port=port)

    def _target(self, point: SweepPoint) -> Deployment:
        """Returns the point's deployment; the one before the sweep fills an empty backend or precision.

        Without that, a point would run on whatever an earlier point has switched to.
        """
        target, before = point.target, self._before
        if target.backend and target.precision:
            return target
        found = before.initial.requested if before.initial is not None and not before.was_down else self._options
        backend, precision = found.backend or "auto", found.precision or "auto"
        recipe = "" if target.backend or target.precision else found.recipe
        return replace(
            target,
            backend=target.backend or backend,
            precision=target.precision or precision,
            recipe=target.recipe or recipe,
        )

    async def _switch(self, point: SweepPoint) -> None:
        """Switches to the point's deployment unless it is live. Raises CommandRefused and Stopped."""
        if point.target == self.live:
            return
        as_before = point.target == Deployment() and not self._before.was_down
        if as_before and self._before.serves_as_before:
            self.live = point.target
            return
        self.switched = True
        self._doing(f"switching to {point.target.cell or 'the deployment before the sweep'}")
        self.live = None
        try:
            if as_before:
                await self._unless_stopped(self._before.switch_back())
            else:
                await self._session.switch(self._target(point), strict=point.strict, fresh=True)
        finally:
            await self._unless_stopped(self._session.wait_until_switched())
        engine = self._session.frame.engine
        if engine.state is not EngineState.RUNNING or engine.message:
            raise CommandRefused(engine.message or f"the engine is {engine.state} after the switch")
        self.live = point.target

    async def _configure(self, point: SweepPoint) -> None:
        """Sets the point's batching settings, and the defaults of those that it does not name.

        An engine that does not report its serving plan cannot be asked for the plan's bounds: a bound that the point
        does not name is then the initial one.
        """
        engine = self._session.frame.engine
        bounds = {name: getattr(engine.plan, name) for name in ("max_batch_tokens", "max_batch_items")}
        defaults = {name: value for name, value in _DEFAULT_KNOBS.items() if bounds.get(name, 1)}
        knobs = {**self._before.initial_knobs, **defaults, **point.knobs}
        in_effect = {name: bounds.get(name, 0) or value if value == 0 else value for name, value in knobs.items()}
        changed = {name: knobs[name] for name, value in in_effect.items() if getattr(engine.batching, name) != value}
        self._before.changed_knobs |= set(changed)
        if changed:
            await self._session.configure(**changed)

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
