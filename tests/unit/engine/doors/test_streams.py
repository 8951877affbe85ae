"""A stream ends when its responses cannot be written, even while it waits for messages."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from engine.api import embed_pb2
from engine.doors.embed_v1.embedder import Embedder
from engine.doors.errors import Context
from engine.doors.inbound import InboundMemory
from engine.pipeline.metrics import Telemetry
from engine.pipeline.open_calls import OpenCalls
from tests.support.patience import HANGS_AFTER_S


class Answering(Embedder):
    """Answers every message with an empty response."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self._inbound = InboundMemory()
        pipeline: Any = SimpleNamespace(streams=OpenCalls())
        self._pipeline = pipeline

    async def _answer_message(self, message: embed_pb2.StreamRequest, context: Context) -> embed_pb2.StreamResponse:
        return embed_pb2.StreamResponse(id=message.id)


class Unwritable:
    """The context of a call to which nothing can be written."""

    async def write(self, message: embed_pb2.StreamResponse) -> None:
        raise RuntimeError(f"message {message.id} is larger than allowed")

    async def abort(self, code: grpc.StatusCode, *_: Any) -> None:
        assert code is grpc.StatusCode.INTERNAL
        raise grpc.aio.AbortError


async def one_question_and_no_end() -> AsyncIterator[bytes]:
    yield embed_pb2.StreamRequest(id=1).SerializeToString()
    await asyncio.Event().wait()


async def test_an_answer_that_cannot_be_written_ends_the_stream_with_an_error() -> None:
    embedder = Answering()
    with pytest.raises(grpc.aio.AbortError):
        async with asyncio.timeout(HANGS_AFTER_S):
            await embedder.EmbedStream(one_question_and_no_end(), cast("Context", Unwritable()))
    assert embedder.telemetry.counts.errors == {"INTERNAL": 1}
