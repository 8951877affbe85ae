"""The one edge where the engine's errors become gRPC codes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from engine import errors
from engine.pipeline.metrics import Telemetry

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
    """The gRPC code of an error; whatever is not one of ours is INTERNAL."""
    return next((code for kind, code in CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def status_of(error: BaseException) -> status_pb2.Status:
    """The error as google.rpc.Status, with RetryInfo where retrying can help.

    A foreign exception's own words are not shown: they may hold a caller's text.
    """
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


async def abort(context: Context, error: BaseException) -> NoReturn:
    """Ends the call with the error's code, message and details."""
    status = status_of(error)
    trailing = ((DETAILS_KEY, status.SerializeToString()),) if status.details else ()
    await context.abort(code_of(error), status.message, trailing)
    raise AssertionError("context.abort always raises")


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
            servicer.telemetry.request_failed(code_of(error).name)
            await abort(context, error)

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
            servicer.telemetry.request_failed(code_of(error).name)
            await abort(context, error)

    return translated
