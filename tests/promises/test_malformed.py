"""Malformed messages are INVALID_ARGUMENT, counted, logged at a limited rate, and fail alone on a stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from engine.api import embed_pb2
from engine.api.client import EmbedClient
from tests.promises.conftest import StartProcess
from tests.support.engine_process import EngineProcess

ONE_THREAD = ("--backend", "onnx", "--precision", "fp32", "--instances", "1", "--threads", "1")
METHODS = [
    (f"/{service.full_name}/{method.name}", method.client_streaming, method.server_streaming)
    for service in embed_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
] + [("/grpc.health.v1.Health/Check", False, False), ("/grpc.health.v1.Health/Watch", False, True)]
NOT_UTF_8 = embed_pb2.EmbedRequest(texts=["abc"]).SerializeToString().replace(b"abc", b"\xff\xfe\xfd")
GARBAGE = b"\xff" * 20


@pytest.fixture(scope="module")
def engine(artifact_cache: object) -> Any:
    """One engine: nothing that is sent here may change it."""
    process = EngineProcess(*ONE_THREAD)
    try:
        yield process.wait_ready()
    finally:
        process.stop()


async def code_of(channel: grpc.aio.Channel, path: str, raw: bytes, server_streaming: bool) -> grpc.StatusCode:
    """Sends encoded bytes to a method; returns the code."""
    make: Any = channel.unary_stream if server_streaming else channel.unary_unary
    call = make(path)(raw, timeout=20)
    try:
        if server_streaming:
            await call.read()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    code: grpc.StatusCode = await call.code()
    return code


async def errors_of(engine: EngineProcess) -> dict[str, int]:
    """The counted failures by code."""
    async with EmbedClient(engine.address) as client:
        async for frame in client.control.Watch(embed_pb2.WatchRequest(interval_ms=50)):
            return dict(frame.counters.errors)
    raise AssertionError("no frame")


@pytest.mark.parametrize(("path", "server_streaming"), [(path, many) for path, stream, many in METHODS if not stream])
async def test_garbage_to_every_method_is_an_invalid_argument_and_counted(
    engine: EngineProcess, path: str, server_streaming: bool
) -> None:
    before = (await errors_of(engine)).get("INVALID_ARGUMENT", 0)
    async with grpc.aio.insecure_channel(engine.address) as channel:
        assert await code_of(channel, path, GARBAGE, server_streaming) is grpc.StatusCode.INVALID_ARGUMENT
    assert (await errors_of(engine))["INVALID_ARGUMENT"] == before + 1


async def test_text_in_another_encoding_is_refused_without_being_echoed(engine: EngineProcess) -> None:
    async with grpc.aio.insecure_channel(engine.address) as channel:
        embed: Any = channel.unary_unary("/embed.v1.Embedder/Embed")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embed(NOT_UTF_8, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not UTF-8" in (caught.value.details() or "")


@pytest.mark.parametrize("field", ["dtype", "truncate"])
async def test_a_value_that_an_enum_does_not_have_is_refused(engine: EngineProcess, field: str) -> None:
    async with EmbedClient(engine.address) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.embedder.Embed(embed_pb2.EmbedRequest(texts=["x"], **{field: 9}))  # type: ignore[arg-type]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"unknown {field}" in (caught.value.details() or "")


async def test_on_a_stream_malformed_messages_fail_alone_with_their_ids(engine: EngineProcess) -> None:
    def message(number: int, raw: bytes | None = None) -> bytes:
        encoded = embed_pb2.StreamRequest(
            id=number,
            request=embed_pb2.EmbedRequest(texts=["abc"], truncate=9 if raw == b"enum" else 0),  # type: ignore[arg-type]
        ).SerializeToString()
        return encoded if raw in (None, b"enum") else encoded.replace(b"abc", raw or b"")

    async def messages() -> AsyncIterator[bytes]:
        for one in (message(1), message(2, b"\xff\xfe\xfd"), message(3), GARBAGE, message(4, b"enum"), message(5)):
            yield one

    async with grpc.aio.insecure_channel(engine.address) as channel:
        stream: Any = channel.stream_stream("/embed.v1.Embedder/EmbedStream")
        answers = [embed_pb2.StreamResponse.FromString(raw) async for raw in stream(messages(), timeout=30)]
    assert [one.id for one in answers] == [1, 2, 3, 0, 4, 5]
    codes = [one.error.code for one in answers]
    invalid = grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert codes == [0, invalid, 0, invalid, invalid, 0]
    assert isinstance(answers[1].error, status_pb2.Status)


async def test_a_thousand_malformed_messages_are_a_few_lines_in_the_log(start_process: StartProcess) -> None:
    engine = start_process(*ONE_THREAD).wait_ready()
    async with grpc.aio.insecure_channel(engine.address) as channel:
        calls = [code_of(channel, "/embed.v1.Embedder/Embed", GARBAGE, server_streaming=False) for _ in range(1000)]
        assert set(await asyncio.gather(*calls)) == {grpc.StatusCode.INVALID_ARGUMENT}
    assert (await errors_of(engine))["INVALID_ARGUMENT"] == 1000
    engine.close_stdin()
    assert await asyncio.to_thread(engine.wait) == 0
    lines = [one for one in engine.events_named("log") if "malformed" in one["message"]]
    assert 1 <= len(lines) <= 20
    assert not [one for one in engine.events if one.get("event") == "raw"], json.dumps(list(engine.events)[-3:])
