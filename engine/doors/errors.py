"""The one edge where the engine's errors become gRPC codes."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from typing import Any, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
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
    """A servicer that counts its failures."""

    telemetry: Telemetry


def code_of(error: BaseException) -> grpc.StatusCode:
    """The gRPC code of an error; whatever is not one of ours is INTERNAL. A group has the code of what decides it."""
    error = _deciding(error)
    return next((code for kind, code in CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def status_of(error: BaseException) -> status_pb2.Status:
    """The error as google.rpc.Status, with RetryInfo where retrying can help.

    A foreign exception's own words are not shown: they may hold a caller's text.
    """
    error = _deciding(error)
    known = isinstance(error, errors.EngineError)
    message = str(error) if known else f"a fault of the engine ({type(error).__name__}): see its log and report it"
    status = status_pb2.Status(code=code_of(error).value[0], message=message)
    if isinstance(error, errors.Overloaded) and error.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(max(1, round(error.retry_after_s * 1000)))
        packed = AnyMessage()
        packed.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        status.details.append(packed)
    return status


def count_failure(telemetry: Telemetry, error: BaseException) -> None:
    """Counts a failed request by its code, and logs what is a fault of the engine: to be called once per failure.

    The log gets the types and frames of foreign exceptions, not their words nor any variable, which may hold a caller's
    text. A poison text is not logged again: its forward pass was.
    """
    telemetry.request_failed(code_of(error).name)
    for one in _inside(error):
        if code_of(one) is grpc.StatusCode.INTERNAL and not isinstance(one, errors.PoisonedText):
            _log.error("a fault of the engine\n%s", "\n".join(_described(one)))


def _inside(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group and of the groups in it; of anything else itself."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _inside(one)
    else:
        yield error


def _deciding(error: BaseException) -> BaseException:
    """What a group's code is made of: its first error of ours, else its first."""
    inside = list(_inside(error))
    return next((one for one in inside if isinstance(one, errors.EngineError)), inside[0])


def _described(error: BaseException) -> list[str]:
    """An error's type and frames, newest call last, then those of what caused it."""
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
    """Ends the call with the error's code, message and details."""
    status = status_of(error)
    trailing = ((DETAILS_KEY, status.SerializeToString()),) if status.details else ()
    await context.abort(code_of(error), status.message, trailing)
    raise AssertionError("context.abort always raises")


async def _end_with(context: Context, error: Exception, telemetry: Telemetry) -> NoReturn:
    """Ends a call with what its handler raised, and counts it, unless the caller has gone.

    Where the caller goes while an answer is written, writing fails first and aborting then fails too.
    """
    deciding = _deciding(error)
    if isinstance(deciding, grpc.aio.AbortError):
        raise deciding from None
    if not isinstance(deciding, grpc.aio.InternalError):
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
    """For a unary method: errors become codes and are counted; a caller that has gone is no error of ours."""

    @wraps(handler)
    async def translated(servicer: HasTelemetry, request: Any, context: Context) -> Message:
        try:
            return await handler(servicer, request, context)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            await _end_with(context, error, servicer.telemetry)

    return translated


def translates_stream_errors(handler: ServerStream[Message]) -> ServerStream[Message]:
    """As `translates_errors`, for a method that streams its answer."""

    @wraps(handler)
    async def translated(servicer: HasTelemetry, request: Any, context: Context) -> AsyncIterator[Message]:
        try:
            async for message in handler(servicer, request, context):
                yield message
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            await _end_with(context, error, servicer.telemetry)

    return translated
