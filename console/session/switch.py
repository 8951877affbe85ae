"""Switches of the engine: requests one at a time, follows its events, cancels it, and reports its times."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from console.model.engine import Deployment, EngineState, Phase
from console.model.errors import CommandRefused
from console.model.supervise import Supervisor
from console.session import from_wire
from console.session.control_client import ControlClient, EngineRefusal
from console.session.engine import EngineController
from engine.api import embed_pb2

FIRST_ANSWER_S = 3.0
"""How long `Switcher.switch` waits for the engine's first event."""


@dataclass(frozen=True, slots=True)
class CompletedSwitch:
    """A switch that succeeded. Times are the session's."""

    label: str
    fell_back: bool
    before: Deployment
    requested: Deployment
    effective: Deployment
    requested_s: float
    cut_over_s: float
    released_s: float


class Switcher:
    """Runs the switches of one engine. `on_completed` is called after each successful switch."""

    def __init__(
        self,
        engine: EngineController,
        on_completed: Callable[[CompletedSwitch], None],
        log: Callable[[str, str], None],
        now_s: Callable[[], float],
        supervisor: Supervisor,
    ) -> None:
        self._engine = engine
        self._supervisor = supervisor
        self._on_completed = on_completed
        self._log = log
        self._now_s = now_s
        self._task: asyncio.Task[None] | None = None
        self._cut_over_s: float | None = None
        self._latest: asyncio.Task[None] | None = None

    async def wait_ended(self) -> None:
        """Returns when no switch of this console is in progress and the state reflects the last one."""
        while self._latest is not None and not self._latest.done():
            await asyncio.wait({self._latest})

    async def switch(self, target: Deployment, strict: bool, fresh: bool = False) -> None:
        """Requests a switch; returns when the engine accepts it. Raises CommandRefused with the engine's reason."""
        control = self._engine.serving()
        if self._task is not None or self._engine.engine.state is EngineState.SWITCHING:
            raise CommandRefused("a switch is in progress: wait for it, or cancel it first")
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cut_over_s = None
        self._task = self._latest = self._supervisor.run(
            "following a switch", self._run(control, target, strict, fresh, accepted)
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(accepted), FIRST_ANSWER_S)

    async def cancel(self) -> None:
        """Cancels the switch. Raises CommandRefused after the cut-over, or without a switch."""
        if self._task is None:
            raise CommandRefused("no switch of this console is in progress")
        if self._cut_over_s is not None:
            raise CommandRefused("the new deployment is serving already: switch back instead")
        await self.close()

    async def close(self) -> None:
        """Closes the stream of a switch in progress, if any."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(
        self, control: ControlClient, target: Deployment, strict: bool, fresh: bool, accepted: asyncio.Future[None]
    ) -> None:
        before, requested_s = self._engine.engine.effective, self._now_s()
        message = ""
        try:
            self._engine.set_switch_phase(Phase("requested", target.cell), target)
            last = await self._follow(control.switch(target, strict, fresh), accepted)
            if last is not None:
                self._complete(before, last, requested_s)
        except EngineRefusal as error:
            message = f"switch to {target.cell or 'the same'} failed, {before.cell} continues to serve: {error}"
            self._log("error", message)
            if not accepted.done():
                accepted.set_exception(CommandRefused(str(error)))
        except asyncio.CancelledError:
            self._log("event", f"switch to {target.cell} cancelled: {before.cell} continues to serve")
            raise
        except Exception as error:  # a fault of the console: the supervisor logs it, the frame must show it
            message = f"following the switch to {target.cell or 'the same'} failed: {type(error).__name__}: {error}"
            if not accepted.done():
                accepted.set_exception(CommandRefused(message))
            raise
        finally:
            self._task = None
            if not accepted.done():
                accepted.set_result(None)
            await self._engine.switch_ended(message)

    async def _follow(
        self, stream: AsyncGenerator[embed_pb2.SwitchEvent, None], accepted: asyncio.Future[None]
    ) -> embed_pb2.SwitchEvent | None:
        """Applies the events; returns the last one, or None if there was none."""
        last: embed_pb2.SwitchEvent | None = None
        async with aclosing(stream) as events:
            async for event in events:
                last = event
                if from_wire.is_cut_over(event.state) and self._cut_over_s is None:
                    self._cut_over_s = self._now_s()
                self._engine.set_switch_phase(from_wire.switch_phase(event), from_wire.deployment(event.requested))
                if not accepted.done():
                    accepted.set_result(None)
        return last

    def _complete(self, before: Deployment, last: embed_pb2.SwitchEvent, requested_s: float) -> None:
        released_s = self._now_s()
        requested, effective = from_wire.deployment(last.requested), from_wire.deployment(last.effective)
        if last.epoch and last.epoch == self._engine.engine.epoch:
            self._log("event", f"{effective.cell} is live already: nothing to switch")
            return
        label, fell_back = live_label(before, requested, effective)
        self._log("event", f"switched {label} in {released_s - requested_s:.2f} s")
        cut_over_s = self._cut_over_s if self._cut_over_s is not None else released_s
        self._on_completed(
            CompletedSwitch(label, fell_back, before, requested, effective, requested_s, cut_over_s, released_s)
        )


def live_label(before: Deployment, requested: Deployment, effective: Deployment) -> tuple[str, bool]:
    """Returns a label such as `torch·fp32 → onnx·int8 (eff fp32)`, and whether the engine fell back."""
    fell_back = (requested.backend, requested.precision) != (effective.backend, effective.precision)
    if not fell_back:
        return f"{before.cell} → {requested.cell}", False
    effective_name = effective.precision if requested.backend == effective.backend else effective.cell
    return f"{before.cell} → {requested.cell} (eff {effective_name})", True
