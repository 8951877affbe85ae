"""The closed loop: `concurrency` callers, each with one request in flight."""

import asyncio
from collections.abc import Callable

import grpc

from console.load.attempts import Plan, one_request
from console.load.calls import Transport, transport_for
from console.load.recorder import Recorder
from console.model.supervise import Supervisor

PAUSE_AFTER_ERROR_S = 0.1
"""Pause of a caller after a failed request, so that an engine that refuses at once is not flooded."""


class ClosedLoop:
    """Runs the callers. They start one by one within `ramp_s`, and end after their request in flight."""

    def __init__(
        self, channel: grpc.aio.Channel, recorder: Recorder, clock: Callable[[], float], supervisor: Supervisor
    ) -> None:
        self._channel = channel
        self._supervisor = supervisor
        self._recorder = recorder
        self._clock = clock
        self._plan: Plan | None = None
        self._callers: dict[int, asyncio.Task[None]] = {}
        self._pending_starts: list[asyncio.TimerHandle] = []
        self._concurrency = 0

    def apply(self, plan: Plan) -> None:
        """Applies the plan to every request from now on."""
        self.stop_sending()
        self._plan = plan
        self._concurrency = plan.spec.concurrency
        new = [number for number in range(self._concurrency) if number not in self._callers]
        loop = asyncio.get_running_loop()
        for order, number in enumerate(new):
            if plan.spec.ramp_s and order:
                self._pending_starts.append(
                    loop.call_later(plan.spec.ramp_s * order / len(new), self._start_caller, number)
                )
            else:
                self._start_caller(number)

    def stop_sending(self) -> None:
        """Sends no further request. Those in flight continue."""
        self._concurrency = 0
        while self._pending_starts:
            self._pending_starts.pop().cancel()

    def _start_caller(self, number: int) -> None:
        task = asyncio.create_task(self._run_caller(number))
        self._callers[number] = self._supervisor.watch("a caller of the closed loop", task)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks of the callers that have not ended."""
        return list(self._callers.values())

    async def _run_caller(self, number: int) -> None:
        transport: Transport | None = None
        shape: tuple[bool, bool] | None = None
        try:
            while number < self._concurrency and (plan := self._plan) is not None:
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
