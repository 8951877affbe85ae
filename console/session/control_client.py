"""A client of the engine's Control service."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
from google.protobuf.message import Message

from console.model.engine import Batching, CapabilityCell, Deployment
from console.session import from_wire
from engine.api import channel_options, embed_pb2, embed_pb2_grpc

CALL_TIMEOUT_S = 10.0
_CLOSED = "the connection was closed"
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class EngineRefusal(Exception):
    """The engine refused a call or is not reachable. `code` is the gRPC code's name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message or code)
        self.code = code


class ControlClient:
    """A connection to one engine. Every method raises EngineRefusal. `on_message` is called with every response."""

    def __init__(self, address: str, on_message: Callable[[Message], None] = lambda _message: None) -> None:
        self.address = address
        self._on_message = on_message
        self._closed = False
        self._streams: set[Any] = set()
        self._channel = grpc.aio.insecure_channel(address, options=channel_options(address, _OPTIONS))
        self._stub: Any = embed_pb2_grpc.ControlStub(self._channel)

    async def close(self) -> None:
        """Closes the connection. Pending calls raise EngineRefusal."""
        self._closed = True
        for call in self._streams:  # closing the channel does not end a stream that waits for its next message
            call.cancel()
        await self._channel.close()

    @contextmanager
    def _errors_as_refusals(self) -> Iterator[None]:
        """Raises EngineRefusal for every way in which a call can fail."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise EngineRefusal(error.code().name, error.details() or "") from error
        except grpc.aio.UsageError as error:  # the channel is closed
            raise EngineRefusal("UNAVAILABLE", _CLOSED) from error
        except asyncio.CancelledError:
            # closing a channel cancels its calls without cancelling the tasks that await them
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise EngineRefusal("UNAVAILABLE", _CLOSED) from None

    async def status(self, timeout_s: float = CALL_TIMEOUT_S) -> embed_pb2.Status:
        with self._errors_as_refusals():
            status: embed_pb2.Status = await self._stub.GetStatus(embed_pb2.GetStatusRequest(), timeout=timeout_s)
        self._on_message(status)
        return status

    async def capabilities(self) -> tuple[CapabilityCell, ...]:
        with self._errors_as_refusals():
            response = await self._stub.GetCapabilities(embed_pb2.GetCapabilitiesRequest(), timeout=6 * CALL_TIMEOUT_S)
        self._on_message(response)
        return tuple(from_wire.capability(cell) for cell in response.cells)

    async def configure(self, knobs: Mapping[str, Any]) -> Batching:
        """Sets the named fields of Batching, and returns all effective values."""
        with self._errors_as_refusals():
            config = await self._stub.Configure(embed_pb2.ConfigureRequest(**knobs), timeout=CALL_TIMEOUT_S)
        return from_wire.batching(config)

    def watch(self, interval_ms: int) -> AsyncGenerator[embed_pb2.Frame, None]:
        return self._stream(self._stub.Watch, embed_pb2.WatchRequest(interval_ms=interval_ms))

    async def measure_fidelity(self, progress: Callable[[str], None]) -> dict[str, Any]:
        """Measures the live deployment on the engine's corpus. Returns the fields of `engine fidelity --json`."""
        async with aclosing(self._stream(self._stub.MeasureFidelity, embed_pb2.MeasureFidelityRequest())) as events:
            async for event in events:
                if event.HasField("cosine"):
                    return from_wire.fidelity(event)
                progress(f"fidelity: {event.phase or 'measure'} {event.done}/{event.total}")
        raise EngineRefusal("UNKNOWN", "the measurement ended without a result")

    def switch(
        self, target: Deployment, strict: bool, fresh: bool = False
    ) -> AsyncGenerator[embed_pb2.SwitchEvent, None]:
        """Switches, and yields the events. Closing the generator before the cut-over cancels the switch."""
        request = embed_pb2.SwitchRequest(target=from_wire.wire_deployment(target), strict=strict, fresh=fresh)
        return self._stream(self._stub.Switch, request)

    async def _stream(self, method: Any, request: Message) -> AsyncGenerator[Any, None]:
        with self._errors_as_refusals():
            call = method(request)
            self._streams.add(call)
            try:
                async for message in call:
                    self._on_message(message)
                    yield message
            finally:
                self._streams.discard(call)
                call.cancel()
