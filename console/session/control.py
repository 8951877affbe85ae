"""The session's side of the engine's Control service."""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import grpc

from console.engine_facts import Batching
from console.frame import CapabilityCell, Deployment
from console.session import translate
from engine.api import embed_pb2, embed_pb2_grpc

CALL_TIMEOUT_S = 10.0
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class EngineSaid(Exception):
    """The engine refused or could not be reached. `code` is the gRPC code's name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message or code)
        self.code = code


def _said(error: grpc.aio.AioRpcError) -> EngineSaid:
    return EngineSaid(error.code().name, error.details() or "")


class Control:
    """A connection to one engine. Every method raises EngineSaid."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub: Any = embed_pb2_grpc.ControlStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    async def status(self, timeout_s: float = CALL_TIMEOUT_S) -> embed_pb2.Status:
        try:
            status: embed_pb2.Status = await self._stub.GetStatus(embed_pb2.GetStatusRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _said(error) from error
        return status

    async def capabilities(self) -> tuple[CapabilityCell, ...]:
        try:
            found = await self._stub.GetCapabilities(embed_pb2.GetCapabilitiesRequest(), timeout=6 * CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise _said(error) from error
        return tuple(translate.capability(cell) for cell in found.cells)

    async def configure(self, knobs: Mapping[str, Any]) -> Batching:
        """Sets the named fields of Batching; returns those in force."""
        try:
            config = await self._stub.Configure(embed_pb2.ConfigureRequest(**knobs), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise _said(error) from error
        return translate.batching(config)

    async def watch(self, interval_ms: int) -> AsyncGenerator[embed_pb2.Frame, None]:
        call = self._stub.Watch(embed_pb2.WatchRequest(interval_ms=interval_ms))
        try:
            async for frame in call:
                yield frame
        except grpc.aio.AioRpcError as error:
            raise _said(error) from error
        finally:
            call.cancel()

    async def measure_fidelity(self, progress: Callable[[str], None]) -> dict[str, Any]:
        """Of what is live, on the engine's own corpus, by the names of `engine fidelity --json`."""
        call = self._stub.MeasureFidelity(embed_pb2.MeasureFidelityRequest())
        try:
            async for event in call:
                if event.HasField("cosine"):
                    return translate.fidelity(event)
                progress(f"fidelity: {event.phase or 'measure'} {event.done}/{event.total}")
        except grpc.aio.AioRpcError as error:
            raise _said(error) from error
        finally:
            call.cancel()
        raise EngineSaid("UNKNOWN", "it ended without a figure")

    async def switch(
        self, target: Deployment, strict: bool, fresh: bool = False
    ) -> AsyncGenerator[embed_pb2.SwitchEvent, None]:
        """Leaving the loop early (or being cancelled) drops the stream: before the cut-over that cancels the switch."""
        request = embed_pb2.SwitchRequest(target=translate.wire_deployment(target), strict=strict, fresh=fresh)
        call = self._stub.Switch(request)
        try:
            async for event in call:
                yield event
        except grpc.aio.AioRpcError as error:
            raise _said(error) from error
        finally:
            call.cancel()
