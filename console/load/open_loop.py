"""The open loop: requests are sent on a schedule that does not depend on earlier responses.

Latency counts from the scheduled time, so that a delay before sending is included (no coordinated omission).
"""

import asyncio
from collections.abc import Callable

import grpc

from console.load.arrivals import Arrivals, RateProfile
from console.load.attempts import Plan, one_request
from console.load.calls import Transport, transport_for
from console.load.pacer import Pacer
from console.load.recorder import Recorder
from console.model.supervise import Supervisor


class OpenLoop:
    """Sends the scheduled requests. An arrival with `max_in_flight` requests unanswered is dropped and counted."""

    def __init__(
        self, channel: grpc.aio.Channel, recorder: Recorder, clock: Callable[[], float], supervisor: Supervisor
    ) -> None:
        self._channel = channel
        self._supervisor = supervisor
        self._recorder = recorder
        self._clock = clock
        self._plan: Plan | None = None
        self._pacer: Pacer | None = None
        self._idle_transports: list[Transport] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def apply(self, plan: Plan) -> None:
        """Applies the plan to every request from now on. A change of rate continues the same arrival process."""
        before, self._plan = self._plan, plan
        spec = plan.spec
        if before is not None and (before.spec.stream, before.spec.workload) != (spec.stream, spec.workload):
            self._close_idle_transports()
        if self._pacer is not None and before is not None:
            if (before.spec.arrival, before.spec.seed) == (spec.arrival, spec.seed):
                if before.spec.rate != spec.rate:
                    self._pacer.change(spec.rate, spec.ramp_s)
                return
            self._pacer.stop()
        profile = RateProfile(self._clock(), spec.rate, ramp_s=spec.ramp_s)
        self._pacer = Pacer(Arrivals(spec.arrival, spec.seed, profile), self._on_arrival, self._clock)

    def stop_sending(self) -> None:
        """Sends no further request. Those in flight continue."""
        if self._pacer is not None:
            self._pacer.stop()
            self._pacer = None
        self._close_idle_transports()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks of the requests in flight."""
        return list(self._tasks)

    def _on_arrival(self, due_s: float) -> None:
        plan = self._plan
        if plan is None or len(self._tasks) >= plan.spec.max_in_flight:
            self._recorder.record_drop()
            return
        task = self._supervisor.watch("a request of the open loop", asyncio.create_task(self._send(plan, due_s)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, plan: Plan, due_s: float) -> None:
        shape = (plan.spec.stream, plan.requests.is_pairs)
        transport = self._idle_transports.pop() if self._idle_transports else transport_for(self._channel, *shape)
        await one_request(plan, transport, self._recorder, self._clock, due_s)
        now = self._plan
        if self._pacer is not None and now is not None and shape == (now.spec.stream, now.requests.is_pairs):
            self._idle_transports.append(transport)
        else:
            transport.close()

    def _close_idle_transports(self) -> None:
        while self._idle_transports:
            self._idle_transports.pop().close()
