"""Calls of the engine: unary Embed and Similarity, and EmbedStream.

Requests are concatenated from messages that are serialised once per text: on the wire, a message with a repeated field
is the concatenation of messages with one element each. No protobuf message is built while the load runs.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, cast

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2

from engine.api import embed_pb2

_EMBED = "/embed.v1.Embedder/Embed"
_SIMILARITY = "/embed.v1.Embedder/Similarity"
_STREAM = "/embed.v1.Embedder/EmbedStream"
_DETAILS_KEY = "grpc-status-details-bin"
_FLOAT32_BYTES = 4

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),  # gRPC's own retries would not be counted
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),  # reconnects to a restarted engine within a second
)


class CallFailed(Exception):
    """An attempt failed. `retry_after_s` is the delay of the engine's RetryInfo; None without one."""

    def __init__(self, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Reply:
    """The parts of a response that the recorder needs."""

    epoch: int
    timings: embed_pb2.StageTimings
    tokens: int
    truncated: int
    message: embed_pb2.EmbedResponse | embed_pb2.SimilarityResponse

    def deployment(self) -> dict[str, object]:
        """Returns the deployment that answered, as a dictionary of its fields."""
        live = self.message.deployment
        return {field.name: getattr(live, field.name) for field in live.DESCRIPTOR.fields}


def embed_reply(response: embed_pb2.EmbedResponse, size: int) -> Reply:
    """Checks the response's count and size. Raises CallFailed with BAD_REPLY."""
    if response.count != size or len(response.vectors) != size * response.dim * _FLOAT32_BYTES or not response.dim:
        raise CallFailed(
            "BAD_REPLY",
            f"requested {size} vectors, got count {response.count}, dim {response.dim}, {len(response.vectors)} bytes",
        )
    return Reply(
        response.epoch, response.timings, sum(response.token_counts), sum(response.truncated), message=response
    )


def similarity_reply(response: embed_pb2.SimilarityResponse, size: int) -> Reply:
    """Checks the number of scores. Raises CallFailed with BAD_REPLY."""
    if len(response.scores) != size:
        raise CallFailed("BAD_REPLY", f"requested {size} scores, got {len(response.scores)}")
    return Reply(response.epoch, response.timings, 0, 0, message=response)


class Requests:
    """Serialised requests of a corpus, in order, starting over at its end."""

    def __init__(self, texts: Sequence[str], workload: str) -> None:
        self.is_pairs = workload == "pairs"
        if self.is_pairs:
            followers = [*texts, texts[0]]
            self._pieces = [
                embed_pb2.SimilarityRequest(pairs=[embed_pb2.Pair(text_a=a, text_b=b)]).SerializeToString()
                for a, b in pairwise(followers)
            ]
        else:
            self._pieces = [embed_pb2.EmbedRequest(texts=[text]).SerializeToString() for text in texts]
        self._next = 0

    def take(self, size: int) -> bytes:
        """Returns the next request of `size` texts (or pairs)."""
        pieces, begin = self._pieces, self._next
        end = begin + size
        if end <= len(pieces):
            self._next = end % len(pieces)
            return b"".join(pieces[begin:end])
        taken = [pieces[position % len(pieces)] for position in range(begin, end)]
        self._next = end % len(pieces)
        return b"".join(taken)


class Transport(Protocol):
    """The connection of one caller, for one request at a time."""

    async def call(self, body: bytes, size: int, timeout_s: float) -> Reply:
        """Raises CallFailed."""
        ...

    def close(self) -> None: ...


class Unary:
    """Unary calls of Embed or Similarity."""

    def __init__(self, channel: grpc.aio.Channel, is_pairs: bool) -> None:
        self._is_pairs = is_pairs
        self._method: Any = (
            channel.unary_unary(_SIMILARITY, response_deserializer=embed_pb2.SimilarityResponse.FromString)
            if is_pairs
            else channel.unary_unary(_EMBED, response_deserializer=embed_pb2.EmbedResponse.FromString)
        )

    async def call(self, body: bytes, size: int, timeout_s: float) -> Reply:
        """Raises CallFailed."""
        try:
            response = await self._method(body, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from error
        return similarity_reply(response, size) if self._is_pairs else embed_reply(response, size)

    def close(self) -> None:
        """Does nothing: no state is kept between calls."""


def transport_for(channel: grpc.aio.Channel, stream: bool, is_pairs: bool) -> Transport:
    """Returns a new transport for one caller. Pairs are never streamed."""
    return Stream(channel) if stream and not is_pairs else Unary(channel, is_pairs)


class Stream:
    """EmbedStream with one stream per caller, opened at the first request and again after an error.

    A stream answers in order. On a shared stream, a request would wait for the answers of other callers, which would
    distort its latency.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._method: Any = channel.stream_stream(_STREAM, response_deserializer=embed_pb2.StreamResponse.FromString)
        self._stream: Any = None
        self._id = 0

    async def call(self, body: bytes, size: int, timeout_s: float) -> Reply:
        """Raises CallFailed."""
        self._id += 1
        message = stream_request(self._id, body, int(timeout_s * 1000))
        try:
            async with asyncio.timeout(timeout_s + 1.0):
                response = await self._exchange(message)
        except TimeoutError:
            self.close()
            raise CallFailed("DEADLINE_EXCEEDED", f"no answer on the stream for {timeout_s + 1.0:.1f} s") from None
        if response.id != self._id:
            self.close()
            raise CallFailed("BAD_REPLY", f"expected answer {self._id} on the stream, got {response.id}")
        if response.HasField("error"):
            raise _status_failure(response.error)
        return embed_reply(response.response, size)

    async def _exchange(self, message: bytes) -> embed_pb2.StreamResponse:
        if self._stream is None:
            self._stream = self._method()
        try:
            await self._stream.write(message)
            response = await self._stream.read()
        except grpc.aio.AioRpcError as error:
            self._stream = None
            raise _failure(error) from error
        except asyncio.InvalidStateError as error:  # the stream ended between two requests
            self._stream = None
            raise CallFailed("UNAVAILABLE", "the stream had ended") from error
        if response is grpc.aio.EOF:
            self._stream = None
            raise CallFailed("UNAVAILABLE", "the engine ended the stream")
        return cast("embed_pb2.StreamResponse", response)

    def close(self) -> None:
        """Cancels the stream."""
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None


def stream_request(message_id: int, body: bytes, timeout_ms: int) -> bytes:
    """Returns a serialised StreamRequest that contains a serialised EmbedRequest, without parsing the latter.

    Field 2 is a message: its tag (2 << 3 | 2), its length as a varint, its bytes.
    """
    length, varint = len(body), bytearray()
    while length > 0x7F:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    head = embed_pb2.StreamRequest(id=message_id, timeout_ms=timeout_ms).SerializeToString()
    return b"".join((head, b"\x12", varint, body))


def _failure(error: grpc.aio.AioRpcError) -> CallFailed:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            return _status_failure(status_pb2.Status.FromString(value))
    return CallFailed(error.code().name, error.details() or "")


def _status_failure(status: status_pb2.Status) -> CallFailed:
    names = {number: name for name, number in code_pb2.Code.items()}
    retry_after_s = None
    for detail in status.details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            retry_after_s = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    return CallFailed(names.get(status.code, "UNKNOWN"), status.message, retry_after_s)
