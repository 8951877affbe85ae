"""An engine inside the test's own process, so that a test can break what no flag breaks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine.api import embed_pb2, embed_pb2_grpc
from engine.deployment.target import Target
from engine.exit_codes import ExitCode
from engine.host.reporting import Reporter
from engine.server import process
from engine.server.lifeline import Lifeline
from engine.server.process import SERVICES, EngineServer, ServeOptions


class Wire:
    """A client of one engine: what health and Control say."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.embedder = embed_pb2_grpc.EmbedderStub(channel)
        self.control = embed_pb2_grpc.ControlStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)

    async def becomes(self, expected: str) -> None:
        """Returns when grpc.health has told it of every name of the engine, and Control tells it too."""
        wanted = health_pb2.HealthCheckResponse.ServingStatus.Value(expected)
        for name in ("", *SERVICES):
            async for told in self._health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=10):
                if told.status == wanted:
                    break
        assert await self.health() == {expected}
        assert await self.state() == expected

    async def health(self) -> set[str]:
        """The statuses that grpc.health gives the engine's names: one, unless they disagree."""
        answers = [
            await self._health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            for name in ("", *SERVICES)
        ]
        return {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) for answer in answers}

    async def state(self) -> str:
        """GetStatus' state."""
        status = await self.control.GetStatus(embed_pb2.GetStatusRequest(), timeout=10)
        return embed_pb2.ServingState.Name(status.state)

    async def embed(self, text: str = "a text") -> grpc.StatusCode:
        """Embeds one text; the code of the answer."""
        try:
            await self.embedder.Embed(embed_pb2.EmbedRequest(texts=[text]), timeout=20)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


class _Reporter(Reporter):
    """Notes when the ready line is printed."""

    def __init__(self) -> None:
        self.said = StringIO()
        super().__init__(StringIO(), self.said)
        self.ready = asyncio.Event()

    def data(self, event: str, **fields: Any) -> None:
        super().data(event, **fields)
        self.ready.set()


class InProcess(EngineServer):
    """Ends when told by `stop`, and leaves the process's signals alone."""

    def __init__(self) -> None:
        reporter = _Reporter()
        super().__init__(
            ServeOptions(port=0, target=Target(backend="onnx", precision="fp32", instances=1, threads=1)), reporter
        )
        self.ready = reporter.ready
        self._said = reporter.said
        self.address = ""

    def _install_signal_handlers(self) -> None:
        """Signals are pytest's."""

    def _end_with(self, code: ExitCode, error_code: str, message: str, fix: str) -> None:
        """The process is pytest's."""

    def _bind(self) -> str:
        self.address = super()._bind()
        return self.address

    def stop(self) -> None:
        """As a signal does."""
        self._stopping.set()

    @property
    def said(self) -> str:
        """Its stderr."""
        return self._said.getvalue()

    @property
    def statuses(self) -> set[str]:
        """As `Wire.health`, for when nobody can ask any more."""
        told = self._health.servicer._server_status.values()
        return {health_pb2.HealthCheckResponse.ServingStatus.Name(status) for status in told}

    @property
    def holds_a_deployment(self) -> bool:
        """Whether weights are in memory."""
        return self._deployments._live is not None


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[InProcess, Wire, asyncio.Task[ExitCode]]]:
    """An engine that is starting, a client of it and the task of its life; ended with the block."""

    async def no_lifeline(*_: object) -> None:
        """The test's stdin is pytest's."""

    monkeypatch.setattr(Lifeline, "attach", no_lifeline)
    monkeypatch.setattr(process, "freeze_start_up_objects", lambda: None)
    engine = InProcess()
    life = asyncio.create_task(engine.run())
    while not engine.address and not life.done():  # noqa: ASYNC110 - bound in the task's first steps
        await asyncio.sleep(0)
    async with grpc.aio.insecure_channel(engine.address) as channel:
        try:
            yield engine, Wire(channel), life
        finally:
            engine.stop()
            await asyncio.wait((life,), timeout=30)
