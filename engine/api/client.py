"""An asyncio client: takes texts, returns NumPy arrays."""

from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType

import grpc
import numpy as np
from numpy.typing import NDArray

from engine.api.channel import channel_options
from engine.api.embed.v1 import embed_pb2, embed_pb2_grpc

MAX_MESSAGE_BYTES = 32 * 1024 * 1024

Vectors = NDArray[np.float32] | NDArray[np.float16]


def vectors_of(response: embed_pb2.EmbedResponse) -> Vectors:
    """Returns the vectors of a response: a read-only array (count, dim), in the dtype of the wire."""
    shape = (response.count, response.dim)
    if response.dtype == embed_pb2.FLOAT16:
        return np.frombuffer(response.vectors, dtype=np.float16).reshape(shape)
    return np.frombuffer(response.vectors, dtype=np.float32).reshape(shape)


class EmbedClient:
    """A channel to one engine. Its methods raise grpc.aio.AioRpcError with the codes that the proto file documents."""

    def __init__(self, address: str) -> None:
        options = channel_options(address, [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)])
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self.embedder = embed_pb2_grpc.EmbedderStub(self._channel)
        self.control = embed_pb2_grpc.ControlStub(self._channel)

    async def __aenter__(self) -> "EmbedClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()

    async def embed(self, texts: Sequence[str], *, timeout_s: float | None = 30.0) -> Vectors:
        """Returns the vectors (n, dim) in the order of the texts."""
        return vectors_of(await self.embedder.Embed(embed_pb2.EmbedRequest(texts=texts), timeout=timeout_s))

    async def embed_stream(self, batches: Iterable[Sequence[str]]) -> AsyncIterator[Vectors]:
        """Yields one array per batch, in order, over one stream. Raises RuntimeError for a batch that failed."""
        requests = (
            embed_pb2.StreamRequest(id=number, request=embed_pb2.EmbedRequest(texts=texts))
            for number, texts in enumerate(batches)
        )
        async for answer in self.embedder.EmbedStream(_each(requests)):
            if answer.HasField("error"):
                raise RuntimeError(f"batch {answer.id}: {answer.error.message}")
            yield vectors_of(answer.response)

    async def similarity(self, pairs: Sequence[tuple[str, str]], *, timeout_s: float | None = 30.0) -> list[float]:
        """Returns the cosine similarity of each pair."""
        messages = [embed_pb2.Pair(text_a=a, text_b=b) for a, b in pairs]
        request = embed_pb2.SimilarityRequest(pairs=messages)
        return list((await self.embedder.Similarity(request, timeout=timeout_s)).scores)


async def _each(requests: Iterable[embed_pb2.StreamRequest]) -> AsyncIterator[embed_pb2.StreamRequest]:
    for request in requests:
        yield request
