"""Saves the state of engine and load before a sweep, and restores it at the end."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from console.model.engine import DOWN, Deployment, Engine, EngineSpec, EngineState
from console.model.errors import CommandRefused
from console.model.load import Load
from console.session.session import Session

RESTORE_TIMEOUT_S = 60.0
"""Limit of each step that restores the engine."""
_POLL_S = 0.1
_REFUSALS_AFTER_CANCELLING = 50
"""How often a switch is retried, every _POLL_S, while the engine still ends a cancelled switch."""
_BOUNDS = ("max_batch_tokens", "max_batch_items")
"""Batching settings that a serving plan sets unless the user does."""


@dataclass(frozen=True, slots=True)
class StateBefore:
    """What the user had set and started before a sweep."""

    engine: Engine
    spec: EngineSpec
    load: Load


def state_before(session: Session) -> StateBefore:
    """Returns the present state of a session."""
    frame = session.frame
    return StateBefore(frame.engine, session.engine_spec, frame.load)


async def restore_load(session: Session, before: StateBefore) -> None:
    """Sets the load of `before` again, and starts it if it was running and an engine serves. Raises CommandRefused."""
    if session.frame.load.spec != before.load.spec:
        await session.change_load(before.load.spec)
    if before.load.running and not session.frame.load.running and session.frame.engine.state not in DOWN:
        await session.start_load(before.load.spec)


class EngineRestorer:
    """Restores deployment, batching settings and options of the engine. Call it on the event loop's thread."""

    def __init__(self, session: Session, doing: Callable[[str], None]) -> None:
        self.initial: Engine | None = None
        """The engine when it first served for the sweep."""
        self.was_down = False
        """Whether no engine served before the sweep, which then started the initial one."""
        self.changed_knobs: set[str] = set()
        """Batching settings that the sweep has changed, or may have."""
        self._spec = session.engine_spec
        self._session = session
        self._doing = doing
        self._cancelled_a_switch = False

    def save(self, *, started: bool) -> None:
        """Saves the state of the serving engine. Only the first call counts. `started`: by the sweep."""
        if self.initial is None:
            self.initial, self.was_down = self._session.frame.engine, started

    @property
    def initial_knobs(self) -> dict[str, Any]:
        """The initial values of the changed settings. 0 asks the serving plan for the bounds that it had set."""
        if self.initial is None:
            return {}
        batching, plan = self.initial.batching, self.initial.plan
        of_plan = {name for name in _BOUNDS if getattr(batching, name) == getattr(plan, name)}
        return {name: 0 if name in of_plan else getattr(batching, name) for name in self.changed_knobs}

    async def restore(self) -> str:
        """Restores the initial state. Returns what failed and why.

        Each step is tried even if an earlier one failed, for at most RESTORE_TIMEOUT_S. An engine of the session's own
        that was down before is stopped.
        """
        remote = self._session.frame.engine.remote
        if self.initial is None or self.was_down:
            return "" if remote else await self._stop_own()
        steps = [
            (self._end_switch, "a switch of this sweep is still under way"),
            (self._start_again, "the engine does not run again, as before"),
            (self._restore_knobs, "the engine keeps this sweep's batching settings"),
            (self.switch_back, f"the engine does not serve {self.initial.requested.cell} again, as before"),
        ]
        failures = [await _attempt(step(), failure) for step, failure in steps]
        if not remote:
            self._session.set_engine_spec(self._spec)
        return "; ".join(filter(None, failures))

    async def _stop_own(self) -> str:
        """Stops an engine that the sweep has started, and restores the options of the next start."""
        try:
            if self._session.frame.engine.state not in DOWN:
                self._doing("stopping the engine, as before")
        finally:
            failure = await _attempt(self._stopped(), "the engine is not stopped again, as before")
            self._session.set_engine_spec(self._spec)
        return failure

    async def _stopped(self) -> None:
        if self._session.frame.engine.state not in DOWN:
            await self._session.stop_engine()
        while self._session.frame.engine.state not in DOWN:  # noqa: ASYNC110 - frames have no event
            await asyncio.sleep(_POLL_S)

    async def _start_again(self) -> None:
        """Starts an own engine that was lost or stopped during the sweep. Raises CommandRefused."""
        engine = self._session.frame.engine
        if engine.remote or engine.state not in DOWN:
            return
        try:
            self._doing("starting the engine again")
        finally:
            await self._session.restart_engine(self._spec)
        await self._session.wait_until_ready()
        engine = self._session.frame.engine
        if engine.state is not EngineState.RUNNING:
            raise CommandRefused(engine.message or f"the engine is {engine.state}: its log may say why")

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
        if self.changed_knobs:
            await self._session.configure(**self.initial_knobs)

    async def switch_back(self) -> None:
        """Switches to the initial deployment. Raises CommandRefused.

        Names the model only if another one is live, and instances and threads only if the engine would choose others,
        so that what the engine chose initially is its choice again.
        """
        initial = self.initial
        if initial is None or self.serves_as_before:
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
            if self.serves_as_before:
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

    @property
    def serves_as_before(self) -> bool:
        """Whether deployment, plan and requested cell are the initial ones."""
        now, initial = self._session.frame.engine, self.initial
        return initial is not None and (now.effective, now.plan, now.requested.cell) == (
            initial.effective,
            initial.plan,
            initial.requested.cell,
        )


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
