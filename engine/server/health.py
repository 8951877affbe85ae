"""What grpc.health.v1 tells: the engine's readiness, under every name that somebody may ask for."""

import asyncio
import logging
from collections.abc import Sequence

from grpc_health.v1 import health, health_pb2

from engine.scheduling import Readiness

_log = logging.getLogger(__name__)


class PublishedHealth:
    """Keeps the standard health servicer up to date with a `Readiness`, from `start` until `shut_down`.

    NOT_SERVING because of failing passes refuses nobody: requests still run, and the first that is answered makes it
    SERVING again. While the engine drains it is NOT_SERVING whatever its batches say.
    """

    def __init__(self, readiness: Readiness, services: Sequence[str]) -> None:
        """`services`: the names besides the empty one, which is the whole engine."""
        self.servicer = health.aio.HealthServicer()
        self._readiness = readiness
        self._names = ("", *services)
        self._changed = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        readiness.subscribe(self._changed.set)

    async def start(self) -> None:
        """Publishes what is so now, and from now on each change, a few steps of the event loop later."""
        await self._publish()
        self._following = asyncio.create_task(self._follow())

    async def shut_down(self) -> None:
        """NOT_SERVING for good. May be called before `start` has ended, and again."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait((self._following,))
        await self.servicer.enter_graceful_shutdown()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._publish()
            except Exception:
                _log.exception("the health of the engine cannot be published")

    async def _publish(self) -> None:
        can_serve = self._readiness.problem is None
        status = health_pb2.HealthCheckResponse.SERVING if can_serve else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self.servicer.set(name, status)
