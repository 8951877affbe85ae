"""The doors through which the promises are asked for: every protocol of the engine keeps the same ones."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from numpy.typing import NDArray

from engine.api import embed_pb2, embed_pb2_grpc
from engine.api.client import vectors_of

OK = "OK"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request."""

    code: str
    """The name of a gRPC code, whatever the protocol."""
    message: str = ""
    retry_after_s: float | None = None
    vectors: NDArray[Any] | None = None


class Door(Protocol):
    """A client of one protocol."""

    async def embed(
        self, texts: Sequence[str], *, timeout_s: float = 60.0, half: bool = False, normalize: bool | None = None
    ) -> Answer:
        """Sends one request. `half`: vectors as FLOAT16, where the protocol has them."""
        ...


class GrpcDoor:
    """embed.v1 over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._embedder = embed_pb2_grpc.EmbedderStub(channel)

    async def embed(
        self, texts: Sequence[str], *, timeout_s: float = 60.0, half: bool = False, normalize: bool | None = None
    ) -> Answer:
        """Implements Door."""
        request = embed_pb2.EmbedRequest(texts=texts, normalize=normalize)
        if half:
            request.dtype = embed_pb2.FLOAT16
        try:
            response = await self._embedder.Embed(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            return Answer(error.code().name, error.details() or "", _retry_after_s(error))
        return Answer(OK, vectors=np.asarray(vectors_of(response)))


def _retry_after_s(error: grpc.aio.AioRpcError) -> float | None:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # the stubs know only synchronous calls
    info = error_details_pb2.RetryInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(info):
            return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


@asynccontextmanager
async def grpc_door(ready: dict[str, Any]) -> AsyncIterator[GrpcDoor]:
    """A client of the engine whose ready line this is. Own connections, so that callers do not share them."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(ready["address"], options=options) as channel:
        yield GrpcDoor(channel)


DOORS: dict[str, Callable[[dict[str, Any]], AbstractAsyncContextManager[Door]]] = {"grpc": grpc_door}
"""A new door is added here, and runs every test of this folder."""
