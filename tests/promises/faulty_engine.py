"""A real engine process into which a test injects faults, and what it reports about itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine.api import embed_pb2, embed_pb2_grpc
from tests.promises.doors import DOORS, Door
from tests.support.engine_process import EngineProcess
from tests.support.patience import HANGS_AFTER_S

MAX_PASS_S = 3
"""The limit of a forward pass, for tests that are not about how it follows from the measured cost."""

ONE_INSTANCE = ("--backend", "onnx", "--precision", "fp32", "--instances", "1", "--threads", "1")


class FaultyEngine:
    """`engine serve --allow-faults`, asked through one door."""

    def __init__(self, door: str, folder: Path, *flags: str) -> None:
        self._door = door
        self._path = folder / "faults.toml"
        self.inject()
        # Options that are given twice have the last value.
        options = (*ONE_INSTANCE, "--max-pass-s", str(MAX_PASS_S), "--allow-faults", *flags)
        self.process = EngineProcess(*options, environment={"ENGINE_FAULTS": str(self._path)})

    def inject(self, **fault: str | int) -> None:
        """Replaces the faults by this one, or by none."""
        keys = "".join(
            f'{key} = "{value}"\n' if isinstance(value, str) else f"{key} = {value}\n" for key, value in fault.items()
        )
        new = self._path.with_suffix(".new")
        new.write_text(f"[[fault]]\n{keys}" if fault else "", "utf-8")
        new.replace(self._path)

    async def ready(self) -> "FaultyEngine":
        """Waits until it serves."""
        await asyncio.to_thread(self.process.wait_ready)
        return self

    def door(self) -> AbstractAsyncContextManager[Door]:
        """A client of its own."""
        return DOORS[self._door](self.process.ready)

    async def exit_code(self) -> int:
        """Waits until the process has ended."""
        return await asyncio.to_thread(self.process.wait)

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[grpc.aio.Channel]:
        async with grpc.aio.insecure_channel(self.process.address) as channel:
            yield channel

    async def health(self) -> str:
        """The status in grpc.health."""
        async with self._channel() as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
            return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    async def becomes(self, expected: str) -> None:
        """Waits until grpc.health has this status."""
        async with self._channel() as channel:
            changes = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=HANGS_AFTER_S)
            async for answer in changes:
                if health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) == expected:
                    return

    async def frame(self) -> embed_pb2.Frame:
        """Its telemetry."""
        async with self._channel() as channel:
            frames = embed_pb2_grpc.ControlStub(channel).Watch(embed_pb2.WatchRequest(), timeout=60)
            async for frame in frames:
                return frame
        raise AssertionError("no frame")

    async def in_flight(self, requests: int) -> None:
        """Waits until so many requests are in flight."""
        async with self._channel() as channel:
            watch = embed_pb2.WatchRequest(interval_ms=50)
            async for frame in embed_pb2_grpc.ControlStub(channel).Watch(watch, timeout=HANGS_AFTER_S):
                if frame.in_flight_requests >= requests:
                    return

    def logged(self, words: str) -> list[dict[str, Any]]:
        """The events on stderr with these words."""
        return [event for event in list(self.process.events) if words in str(event)]
