"""An internal error is logged once, without a caller's text; every error has its own code."""

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from engine import errors
from engine.api import embed_pb2
from engine.doors.embed_v1.embedder import Embedder
from engine.doors.errors import Context, code_of, status_of, translates_errors, translates_stream_errors
from engine.doors.inbound import InboundMemory
from engine.pipeline.embedding import EmbeddingResult
from engine.pipeline.metrics import Telemetry
from engine.pipeline.open_calls import OpenCalls
from tests.support.patience import HANGS_AFTER_S

WORDS = "the caller's own words"


def fault() -> Exception:
    """An error of a library whose message, and that of its cause, quotes the text."""
    error = ValueError(f"cannot encode {WORDS!r}")
    error.__cause__ = KeyError(WORDS)
    return error


class Call:
    """The context of a call, which records how the call ended."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.message = ""

    async def abort(self, code: grpc.StatusCode, message: str, *_: Any) -> None:
        self.code, self.message = code, message
        raise grpc.aio.AbortError

    async def write(self, message: embed_pb2.StreamResponse) -> None:
        raise RuntimeError(WORDS)

    def time_remaining(self) -> None:
        """No deadline."""


class Disconnected(Call):
    """A call whose caller has left: gRPC can neither abort it nor write to it."""

    async def abort(self, code: grpc.StatusCode, message: str, *_: Any) -> None:
        raise asyncio.CancelledError


class Failing:
    """A servicer whose methods raise an error."""

    def __init__(self, error: Exception) -> None:
        self.telemetry = Telemetry()
        self._error = error

    @translates_errors
    async def unary(self, request: object, context: Context) -> object:
        raise self._error

    @translates_stream_errors
    async def server_stream(self, request: object, context: Context) -> AsyncIterator[object]:
        yield request
        raise self._error

    @translates_errors
    async def both_stream(self, requests: object, context: Context) -> None:
        async def fail() -> None:
            raise self._error

        async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
            inner.create_task(fail())
            outer.create_task(asyncio.sleep(0))


async def end_of(error: Exception, method: str) -> tuple[Call, Telemetry]:
    servicer, call = Failing(error), Call()
    context = cast("Context", call)

    async def run() -> None:
        if method == "server_stream":
            async for _ in servicer.server_stream(None, context):
                pass
        else:
            await getattr(servicer, method)(None, context)

    with pytest.raises(grpc.aio.AbortError):
        await run()
    return call, servicer.telemetry


every_kind_of_method = pytest.mark.parametrize("method", ["unary", "server_stream", "both_stream"])


@every_kind_of_method
async def test_a_fault_is_logged_once_with_its_frames_and_without_the_caller_s_text(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    call, telemetry = await end_of(fault(), method)
    assert call.code is grpc.StatusCode.INTERNAL
    assert telemetry.counts.errors == {"INTERNAL": 1}
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    text = caplog.text
    assert "ValueError" in text
    assert "KeyError" in text
    assert "test_errors.py" in text
    assert WORDS not in text
    assert WORDS not in call.message


@every_kind_of_method
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidRequest("no texts"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.Unavailable("draining"), grpc.StatusCode.UNAVAILABLE),
        (errors.Overloaded("full", 0.5), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["invalid", "unavailable", "overloaded"],
)
async def test_an_engine_error_has_its_own_code_and_is_not_logged(
    method: str, error: Exception, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    call, telemetry = await end_of(error, method)
    assert (call.code, call.message) == (code, str(error))
    assert telemetry.counts.errors == {code.name: 1}
    assert not caplog.records


async def test_a_poison_text_is_logged_by_the_instance_alone(caplog: pytest.LogCaptureFixture) -> None:
    call, _ = await end_of(errors.PoisonedText(0, "its vector is not finite"), "unary")
    assert call.code is grpc.StatusCode.INTERNAL
    assert not caplog.records


async def test_a_plain_engine_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await end_of(errors.EngineError("vectors differ in dimension"), "unary")
    assert "EngineError" in caplog.text


@pytest.mark.parametrize("order", [lambda pair: pair, reversed], ids=["fault first", "fault last"])
async def test_of_several_errors_the_engine_error_decides_and_every_fault_is_logged(
    order: Callable[[list[Exception]], list[Exception]], caplog: pytest.LogCaptureFixture
) -> None:
    group = ExceptionGroup("two", list(order([fault(), errors.Expired("too late")])))
    call, telemetry = await end_of(group, "unary")
    assert call.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert telemetry.counts.errors == {"DEADLINE_EXCEEDED": 1}
    assert "ValueError" in caplog.text
    assert WORDS not in caplog.text


@pytest.mark.parametrize(("error", "logged"), [(grpc.aio.InternalError(), 0), (fault(), 1)], ids=["write", "fault"])
async def test_a_write_that_fails_because_the_caller_left_is_no_fault_of_the_engine(
    error: Exception, logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    servicer = Failing(error)
    with pytest.raises(asyncio.CancelledError):
        await servicer.both_stream(None, cast("Context", Disconnected()))
    assert servicer.telemetry.counts.errors.total() == logged
    assert len(caplog.records) == logged


def test_a_group_has_the_code_and_the_message_of_what_is_in_it() -> None:
    group = ExceptionGroup("tasks", [ExceptionGroup("inner", [errors.Unavailable("draining")])])
    assert code_of(group) is grpc.StatusCode.UNAVAILABLE
    assert status_of(group).message == "draining"


class Broken(Embedder):
    """An embedder whose every request raises an internal error."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self._inbound = InboundMemory()
        pipeline: Any = SimpleNamespace(streams=OpenCalls())
        self._pipeline = pipeline

    async def _embed(self, request: embed_pb2.EmbedRequest, deadline_s: float | None) -> embed_pb2.EmbedResponse:
        raise fault()

    def _count(self, embedding: EmbeddingResult, *_: object, **__: object) -> None:
        """Nothing was embedded."""


async def test_a_message_of_a_stream_that_meets_a_fault_is_logged_once_and_fails_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    embedder = Broken()
    message = embed_pb2.StreamRequest(id=7)
    answer = await embedder._answer_message(message, cast("Context", Call()))
    assert (answer.id, answer.error.code) == (7, grpc.StatusCode.INTERNAL.value[0])
    assert embedder.telemetry.counts.errors == {"INTERNAL": 1}
    (record,) = caplog.records
    assert "ValueError" in record.getMessage()
    assert WORDS not in caplog.text


async def test_a_stream_whose_answer_cannot_be_written_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def questions() -> AsyncIterator[bytes]:
        yield embed_pb2.StreamRequest(id=1).SerializeToString()
        await asyncio.Event().wait()

    call = Call()
    with pytest.raises(grpc.aio.AbortError):
        await asyncio.wait_for(Broken().EmbedStream(questions(), cast("Context", call)), HANGS_AFTER_S)
    assert call.code is grpc.StatusCode.INTERNAL
    assert [("RuntimeError" in record.getMessage()) for record in caplog.records] == [False, True]
    assert WORDS not in caplog.text


class Keeping(Call):
    """A call that keeps the exception that ended it, as gRPC does."""

    async def abort(self, code: grpc.StatusCode, message: str, *_: Any) -> None:
        self.kept = grpc.aio.AbortError("Locally aborted.")
        raise self.kept


class Refusing:
    """A servicer whose method raises a new error each time."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()

    @translates_errors
    async def unary(self, request: object, context: Context) -> object:
        raise errors.InvalidRequest("no")


class Request:
    """A request whose memory can be watched."""


async def test_the_memory_of_a_failed_request_is_free_without_the_garbage_collector() -> None:
    call, request = Keeping(), Request()
    watched = weakref.ref(request)
    gc.disable()
    try:
        with suppress(grpc.aio.AbortError):
            await Refusing().unary(request, cast("Context", call))
        del call, request
        assert watched() is None
    finally:
        gc.enable()
