"""Publishes the engine's readiness through grpc.health.v1."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from grpc_health.v1 import health, health_pb2

from engine.scheduling import ProbeSchedule, Readiness, Scheduler

_log = logging.getLogger(__name__)

CHECK_PERIOD_S = 1.0
"""The interval between two looks at the schedule of probes, in seconds."""


async def probe_when_due(
    live: Callable[[], Scheduler],
    schedule: ProbeSchedule,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Runs until cancelled. Probes the live scheduler when no batch has shown for a while that it works."""
    while True:
        await sleep(CHECK_PERIOD_S)
        scheduler = live()
        if schedule.is_due(scheduler.health):
            scheduler.probe()


class HealthPublisher:
    """Updates the standard health servicer from a `Readiness`, from `start` until `shut_down`.

    While failing forward passes make the engine NOT_SERVING, it still runs requests, and the first one that is answered
    makes it SERVING again. While the engine drains it is NOT_SERVING.
    """

    def __init__(self, readiness: Readiness, services: Sequence[str]) -> None:
        """`services`: the service names to publish besides the empty name, which stands for the whole engine."""
        self.servicer = health.aio.HealthServicer()
        self._readiness = readiness
        self._names = ("", *services)
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        readiness.subscribe(self._changed.set)

    async def start(self) -> None:
        """Publishes the current state, and starts a task that publishes each change."""
        await self._publish()
        self._task = asyncio.create_task(self._follow())

    async def shut_down(self) -> None:
        """Publishes NOT_SERVING permanently. May be called before `start` has finished. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self.servicer.enter_graceful_shutdown()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._publish()
            except Exception:
                _log.exception("cannot publish the health of the engine")

    async def _publish(self) -> None:
        can_serve = self._readiness.problem is None
        status = health_pb2.HealthCheckResponse.SERVING if can_serve else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self.servicer.set(name, status)
