"""Registers servicers with the gRPC server so that requests are decoded by the engine and not by gRPC."""

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from engine.doors.decoding import MessageDecoder
from engine.doors.errors import Context, count_and_abort
from engine.doors.inbound import InboundMemory
from engine.errors import EngineError
from engine.pipeline.metrics import Telemetry


def add_servicer(
    server: grpc.aio.Server,
    service: ServiceDescriptor,
    servicer: object,
    telemetry: Telemetry,
    inbound: InboundMemory,
) -> None:
    """Adds the methods of `service`. Requests that are malformed or do not fit in memory are refused and counted.

    A method that takes a stream gets the encoded messages and decodes each, so that a malformed one fails alone.
    """
    handlers = {
        method.name: _handler(method, getattr(servicer, method.name), telemetry, inbound) for method in service.methods
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _handler(
    method: MethodDescriptor, implementation: Callable[..., Any], telemetry: Telemetry, inbound: InboundMemory
) -> Any:
    serialize = GetMessageClass(method.output_type).SerializeToString
    if method.client_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler if method.server_streaming else grpc.stream_unary_rpc_method_handler
        )
        return make(implementation, None, serialize)
    decoder: MessageDecoder[Any] = MessageDecoder(GetMessageClass(method.input_type))

    async def call(raw: bytes, context: Context) -> Any:
        try:
            with inbound.hold(len(raw)):
                return await implementation(decoder.decode(raw), context)
        except EngineError as error:
            await count_and_abort(context, error, telemetry)

    async def stream(raw: bytes, context: Context) -> AsyncIterator[Any]:
        try:
            with inbound.hold(len(raw)):
                async for response in implementation(decoder.decode(raw), context):
                    yield response
        except EngineError as error:
            await count_and_abort(context, error, telemetry)

    if not method.server_streaming:
        return grpc.unary_unary_rpc_method_handler(call, None, serialize)
    generates = inspect.isasyncgenfunction(implementation)
    return grpc.unary_stream_rpc_method_handler(stream if generates else call, None, serialize)
