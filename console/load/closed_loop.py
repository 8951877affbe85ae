"""The closed loop: `concurrency` callers, each with one request in flight, changeable while they run."""

import asyncio
from collections.abc import Callable

import grpc

from console.load.attempts import Plan, one_request
from console.load.calls import Transport, transport_for
from console.load.recorder import Recorder
from console.model.supervise import Supervisor

PAUSE_AFTER_ERROR_S = 0.1
"""A caller whose request failed waits so long: an engine that refuses at once must not be hammered."""


class ClosedLoop:
    """Callers come one by one within `ramp_s`, and go after the request they have in flight."""

    def __init__(
        self, channel: grpc.aio.Channel, recorder: Recorder, clock: Callable[[], float], supervisor: Supervisor
    ) -> None:
        self._channel = channel
        self._supervisor = supervisor
        self._recorder = recorder
        self._clock = clock
        self._plan: Plan | None = None
        self._callers: dict[int, asyncio.Task[None]] = {}
        self._coming: list[asyncio.TimerHandle] = []
        self._wanted = 0

    def follow(self, plan: Plan) -> None:
        """Every request from now on is the plan's."""
        self.rest()
        self._plan = plan
        self._wanted = plan.spec.concurrency
        new = [number for number in range(self._wanted) if number not in self._callers]
        loop = asyncio.get_running_loop()
        for order, number in enumerate(new):
            if plan.spec.ramp_s and order:
                self._coming.append(loop.call_later(plan.spec.ramp_s * order / len(new), self._join, number))
            else:
                self._join(number)

    def rest(self) -> None:
        """No further request."""
        self._wanted = 0
        while self._coming:
            self._coming.pop().cancel()

    def _join(self, number: int) -> None:
        task = asyncio.create_task(self._call_in_a_loop(number))
        self._callers[number] = self._supervisor.watch("a caller of the closed loop", task)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Those that have not ended yet."""
        return list(self._callers.values())

    async def _call_in_a_loop(self, number: int) -> None:
        transport: Transport | None = None
        shape: tuple[bool, bool] | None = None
        try:
            while number < self._wanted and (plan := self._plan) is not None:
                if transport is None or shape != (plan.spec.stream, plan.requests.is_pairs):
                    if transport is not None:
                        transport.close()
                    shape = (plan.spec.stream, plan.requests.is_pairs)
                    transport = transport_for(self._channel, *shape)
                if not await one_request(plan, transport, self._recorder, self._clock):
                    await asyncio.sleep(PAUSE_AFTER_ERROR_S)
        finally:
            if transport is not None:
                transport.close()
            if self._callers.get(number) is asyncio.current_task():
                del self._callers[number]
