"""Translates the engine's errors to gRPC status codes. No other module does."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from typing import Any, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from engine import errors
from engine.pipeline.metrics import Telemetry

_log = logging.getLogger(__name__)

CODES: tuple[tuple[type[errors.EngineError], grpc.StatusCode], ...] = (
    (errors.InvalidRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Expired, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.Cancelled, grpc.StatusCode.CANCELLED),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
    (errors.CannotSwitch, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.ModelError, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.SwitchInProgress, grpc.StatusCode.ABORTED),
)

DETAILS_KEY = "grpc-status-details-bin"

Context = grpc.aio.ServicerContext[Any, Any]
Message = TypeVar("Message")


class HasTelemetry(Protocol):
    """A servicer whose failures are counted."""

    telemetry: Telemetry


def code_of(error: BaseException) -> grpc.StatusCode:
    """Returns the gRPC code of an error; INTERNAL if it is no EngineError. A group has its primary error's code."""
    error = _primary(error)
    return next((code for kind, code in CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def status_of(error: BaseException) -> status_pb2.Status:
    """Returns the error as google.rpc.Status, with RetryInfo if a retry can succeed.

    The message of an exception that is no EngineError is not included: it may quote a caller's text.
    """
    error = _primary(error)
    known = isinstance(error, errors.EngineError)
    message = str(error) if known else f"internal error of the engine ({type(error).__name__}): see its log, report it"
    status = status_pb2.Status(code=code_of(error).value[0], message=message)
    if isinstance(error, errors.Overloaded) and error.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(max(1, round(error.retry_after_s * 1000)))
        packed = AnyMessage()
        packed.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        status.details.append(packed)
    return status


def count_failure(telemetry: Telemetry, error: BaseException) -> None:
    """Counts a failed request by its code, and logs internal errors. Call it once per failure.

    Of exceptions that are no EngineError the log has the types and frames, without messages and variables, which may
    hold a caller's text. A poison text is not logged here: the instance has logged its forward pass.
    """
    code = code_of(error)
    telemetry.request_failed(code.name)
    if isinstance(error.__cause__, DecodeError):
        _log.warning("refused a malformed message: %s", error)
    for one in _flatten(error):
        if code_of(one) is grpc.StatusCode.INTERNAL and not isinstance(one, errors.PoisonedText):
            _log.error("internal error of the engine\n%s", "\n".join(_stack_lines(one)))


def _flatten(error: BaseException) -> Iterator[BaseException]:
    """Yields the errors of a group and of nested groups; any other error itself."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _flatten(one)
    else:
        yield error


def _primary(error: BaseException) -> BaseException:
    """Returns the error that decides the code of a group: its first EngineError, else its first error."""
    inside = list(_flatten(error))
    return next((one for one in inside if isinstance(one, errors.EngineError)), inside[0])


def _stack_lines(error: BaseException) -> list[str]:
    """Returns the type and frames of an error, most recent call last, and then those of its causes."""
    lines: list[str] = []
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        words = f": {current}" if isinstance(current, errors.EngineError) else ""
        lines.append(f"{'caused by ' if len(chain) > 1 else ''}{type(current).__qualname__}{words}")
        frames = traceback.extract_tb(current.__traceback__)
        lines.extend(f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return lines


async def abort(context: Context, error: BaseException) -> NoReturn:
    """Ends the call with the code, message and details of the error."""
    status = status_of(error)
    trailing = ((DETAILS_KEY, status.SerializeToString()),) if status.details else ()
    try:
        await context.abort(code_of(error), status.message, trailing)
    except grpc.aio.AbortError as kept:
        # The call keeps this exception, whose traceback keeps the call and, in its frames, the request: a reference
        # cycle. Another one is raised, so that the request's memory is free when the call ends.
        kept.__traceback__ = kept.__context__ = None
        raise grpc.aio.AbortError(*kept.args) from None
    raise AssertionError("context.abort always raises")


async def count_and_abort(context: Context, error: Exception, telemetry: Telemetry) -> NoReturn:
    """Ends a call with the error that its handler raised, and counts it unless the caller has left.

    If the caller leaves while a response is written, the write fails first and then the abort.
    """
    primary = _primary(error)
    if isinstance(primary, grpc.aio.AbortError):
        raise primary from None
    if not isinstance(primary, grpc.aio.InternalError):
        count_failure(telemetry, error)
        await abort(context, error)
    try:
        await abort(context, error)
    except grpc.aio.AbortError:
        count_failure(telemetry, error)
        raise


Unary = Callable[[Any, Any, Context], Awaitable[Message]]
ServerStream = Callable[[Any, Any, Context], AsyncIterator[Message]]


def translates_errors(handler: Unary[Message]) -> Unary[Message]:
    """Decorates a unary method: ends the call with the error's code, and counts it. Cancellation is not an error."""

    @wraps(handler)
    async def translated(servicer: HasTelemetry, request: Any, context: Context) -> Message:
        try:
            return await handler(servicer, request, context)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            await count_and_abort(context, error, servicer.telemetry)

    return translated


def translates_stream_errors(handler: ServerStream[Message]) -> ServerStream[Message]:
    """Decorates a method that streams its responses; otherwise like `translates_errors`."""

    @wraps(handler)
    async def translated(servicer: HasTelemetry, request: Any, context: Context) -> AsyncIterator[Message]:
        try:
            async for message in handler(servicer, request, context):
                yield message
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            await count_and_abort(context, error, servicer.telemetry)

    return translated
