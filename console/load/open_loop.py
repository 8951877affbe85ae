"""The open loop: requests go out when their schedule says so, whatever the engine does with those before them.

Their latency runs from the scheduled time, so that waiting before the sending is not hidden (coordinated omission).
"""

import asyncio
from collections.abc import Callable

import grpc

from console.load.arrivals import Arrivals, Profile
from console.load.attempts import Plan, one_request
from console.load.calls import Transport, transport_for
from console.load.pacer import Pacer
from console.load.recorder import Recorder
from console.model.supervise import Supervisor


class OpenLoop:
    """At most `max_in_flight` requests are unanswered; an arrival beyond that is counted as dropped and not sent."""

    def __init__(
        self, channel: grpc.aio.Channel, recorder: Recorder, clock: Callable[[], float], supervisor: Supervisor
    ) -> None:
        self._channel = channel
        self._supervisor = supervisor
        self._recorder = recorder
        self._clock = clock
        self._plan: Plan | None = None
        self._pacer: Pacer | None = None
        self._idle: list[Transport] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, plan: Plan) -> None:
        """Every request from now on is the plan's; a change of rate goes on with the same schedule."""
        before, self._plan = self._plan, plan
        spec = plan.spec
        if before is not None and (before.spec.stream, before.spec.workload) != (spec.stream, spec.workload):
            self._close_idle()
        if self._pacer is not None and before is not None:
            if (before.spec.arrival, before.spec.seed) == (spec.arrival, spec.seed):
                if before.spec.rate != spec.rate:
                    self._pacer.change(spec.rate, spec.ramp_s)
                return
            self._pacer.stop()
        profile = Profile(self._clock(), spec.rate, ramp_s=spec.ramp_s)
        self._pacer = Pacer(Arrivals(spec.arrival, spec.seed, profile), self._arrive, self._clock)

    def rest(self) -> None:
        """No further request."""
        if self._pacer is not None:
            self._pacer.stop()
            self._pacer = None
        self._close_idle()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Those that have not ended yet."""
        return list(self._tasks)

    def _arrive(self, due_s: float) -> None:
        plan = self._plan
        if plan is None or len(self._tasks) >= plan.spec.max_in_flight:
            self._recorder.dropped()
            return
        task = self._supervisor.watch("a request of the open loop", asyncio.create_task(self._send(plan, due_s)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, plan: Plan, due_s: float) -> None:
        shape = (plan.spec.stream, plan.requests.is_pairs)
        transport = self._idle.pop() if self._idle else transport_for(self._channel, *shape)
        await one_request(plan, transport, self._recorder, self._clock, due_s)
        now = self._plan
        if self._pacer is not None and now is not None and shape == (now.spec.stream, now.requests.is_pairs):
            self._idle.append(transport)
        else:
            transport.close()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()
