"""One live switch at a time: its stream of events, its cancelling, and what it leaves on the time axis."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from console.model.engine import Deployment, EngineState, Phase
from console.model.errors import CommandRefused
from console.model.supervise import Supervisor
from console.session import from_wire
from console.session.control_client import Control, EngineRefusal
from console.session.engine import EngineLink
from engine.api import embed_pb2

FIRST_ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class Switched:
    """A switch that was carried out. Times are the session's."""

    label: str
    fell_back: bool
    before: Deployment
    requested: Deployment
    effective: Deployment
    requested_s: float
    cut_over_s: float
    released_s: float


class Switcher:
    """Runs the Switch stream of one engine link. `switched` is told of every completed switch."""

    def __init__(
        self,
        link: EngineLink,
        switched: Callable[[Switched], None],
        log: Callable[[str, str], None],
        now_s: Callable[[], float],
        supervisor: Supervisor,
    ) -> None:
        self._link = link
        self._supervisor = supervisor
        self._switched = switched
        self._log = log
        self._now_s = now_s
        self._task: asyncio.Task[None] | None = None
        self._cut_over_s: float | None = None
        self._latest: asyncio.Task[None] | None = None

    async def ended(self) -> None:
        """Returns when no switch of this console is under way, and what came of the last one is known."""
        while self._latest is not None and not self._latest.done():
            await asyncio.wait({self._latest})

    async def switch(self, target: Deployment, strict: bool, fresh: bool = False) -> None:
        """Returns when the engine has taken it up. Raises CommandRefused with the engine's own reason."""
        control = self._link.serving()
        if self._task is not None or self._link.engine.state is EngineState.SWITCHING:
            raise CommandRefused("a switch is in progress: wait for it, or cancel it first")
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cut_over_s = None
        self._task = self._latest = self._supervisor.run(
            "following a switch", self._run(control, target, strict, fresh, taken)
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(taken), FIRST_ANSWER_S)

    async def cancel(self) -> None:
        """Raises CommandRefused after the cut-over, or without a switch."""
        if self._task is None:
            raise CommandRefused("no switch of this console is in progress")
        if self._cut_over_s is not None:
            raise CommandRefused("the new deployment serves already: switch back instead")
        await self.close()

    async def close(self) -> None:
        """Drops the stream, if there is one."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(
        self, control: Control, target: Deployment, strict: bool, fresh: bool, taken: asyncio.Future[None]
    ) -> None:
        before, requested_s = self._link.engine.effective, self._now_s()
        message = ""
        try:
            self._link.switch_stands_at(Phase("requested", target.cell))
            last = await self._follow(control.switch(target, strict, fresh), taken)
            if last is not None:
                self._completed(before, last, requested_s)
        except EngineRefusal as error:
            message = f"switch to {target.cell or 'the same'} failed, {before.cell} goes on serving: {error}"
            self._log("error", message)
            if not taken.done():
                taken.set_exception(CommandRefused(str(error)))
        except asyncio.CancelledError:
            self._log("event", f"switch to {target.cell} cancelled: {before.cell} goes on serving")
            raise
        except Exception as error:  # a fault of the console's own: the supervisor logs it, the frame must show it
            message = f"following the switch to {target.cell or 'the same'} failed: {type(error).__name__}: {error}"
            if not taken.done():
                taken.set_exception(CommandRefused(message))
            raise
        finally:
            self._task = None
            if not taken.done():
                taken.set_result(None)
            await self._link.switch_ended(message)

    async def _follow(
        self, stream: AsyncGenerator[embed_pb2.SwitchEvent, None], taken: asyncio.Future[None]
    ) -> embed_pb2.SwitchEvent | None:
        """The last event; None where there was none."""
        last: embed_pb2.SwitchEvent | None = None
        async with aclosing(stream) as events:
            async for event in events:
                last = event
                if from_wire.is_cut_over(event.state) and self._cut_over_s is None:
                    self._cut_over_s = self._now_s()
                self._link.switch_stands_at(from_wire.switch_phase(event))
                if not taken.done():
                    taken.set_result(None)
        return last

    def _completed(self, before: Deployment, last: embed_pb2.SwitchEvent, requested_s: float) -> None:
        released_s = self._now_s()
        requested, effective = from_wire.deployment(last.requested), from_wire.deployment(last.effective)
        if last.epoch and last.epoch == self._link.engine.epoch:
            self._log("event", f"{effective.cell} is live already: nothing was switched")
            return
        label, fell_back = live_label(before, requested, effective)
        self._log("event", f"switched {label} in {released_s - requested_s:.2f} s")
        cut_over_s = self._cut_over_s if self._cut_over_s is not None else released_s
        self._switched(Switched(label, fell_back, before, requested, effective, requested_s, cut_over_s, released_s))


def live_label(before: Deployment, requested: Deployment, effective: Deployment) -> tuple[str, bool]:
    """`torch·fp32 → onnx·int8 (eff fp32)`, and whether it fell back."""
    asked, got = requested.cell, effective.cell
    fell_back = (requested.backend, requested.precision) != (effective.backend, effective.precision)
    if not fell_back:
        return f"{before.cell} → {asked}", False
    effective_name = effective.precision if requested.backend == effective.backend else got
    return f"{before.cell} → {asked} (eff {effective_name})", True
