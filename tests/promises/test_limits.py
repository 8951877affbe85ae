"""Everything that a client controls has a limit, refused before any work; memory is bounded and given back."""

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import psutil
import pytest

from engine.api import embed_pb2
from engine.api.client import EmbedClient
from tests.promises.conftest import StartProcess
from tests.support.engine_process import EngineProcess

ONE_THREAD = ("--backend", "onnx", "--precision", "fp32", "--instances", "1", "--threads", "1")
MIB = 1 << 20


@pytest.fixture(scope="module")
def small(artifact_cache: object) -> Iterator[EngineProcess]:
    """An engine with small limits."""
    limits = {
        "texts": 4, "text-chars": 10, "text-bytes": 12, "request-bytes": 30, "response-bytes": 3 * 384 * 4,
    }  # fmt: skip
    flags = [word for name, number in limits.items() for word in (f"--max-{name}", str(number))]
    process = EngineProcess(*ONE_THREAD, *flags, "--limit-batch-items", "8", "--limit-batch-tokens", "600")
    try:
        yield process.wait_ready()
    finally:
        process.stop()


async def batches(client: EmbedClient) -> int:
    async for frame in client.control.Watch(embed_pb2.WatchRequest(interval_ms=50)):
        return int(frame.counters.batches)
    raise AssertionError("no frame")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"texts": ["x"] * 5}, "at most 4"),
        ({"texts": ["x" * 11]}, "11 characters, at most 10"),
        ({"texts": ["é" * 7]}, "14 bytes, at most 12"),
        ({"texts": ["x" * 8] * 4}, "32 bytes together, at most 30"),
        ({"texts": ["x"] * 4}, "send fewer texts"),
        ({"texts": ["x"], "dimensions": 2**32 - 1}, "the model has 384"),
    ],
    ids=["texts", "characters", "bytes", "request", "response", "dimensions"],
)
async def test_a_request_over_a_limit_is_refused_before_any_work(
    small: EngineProcess, fields: dict[str, Any], expected: str
) -> None:
    async with EmbedClient(small.address) as client:
        before = await batches(client)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.embedder.Embed(embed_pb2.EmbedRequest(**fields))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert expected in (caught.value.details() or "")
        assert await batches(client) == before
        assert (await client.embed(["a", "b", "c"])).shape == (3, 384)


async def test_a_response_that_is_too_large_fits_with_fewer_dimensions_or_half_the_bytes(small: EngineProcess) -> None:
    async with EmbedClient(small.address) as client:
        for more in ({"dimensions": 100}, {"dtype": embed_pb2.FLOAT16}):
            answer = await client.embedder.Embed(embed_pb2.EmbedRequest(texts=["x"] * 4, **more))
            assert answer.count == 4


@pytest.mark.parametrize(
    "knobs",
    [{"max_batch_items": 9}, {"max_batch_tokens": 601}, {"max_batch_items": 2**32 - 1}, {"max_wait_ms": float("nan")}],
)
async def test_absurd_knobs_are_refused_and_change_nothing(small: EngineProcess, knobs: dict[str, Any]) -> None:
    async with EmbedClient(small.address) as client:
        before = (await client.control.GetStatus(embed_pb2.GetStatusRequest())).batching
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.control.Configure(embed_pb2.ConfigureRequest(**knobs))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await client.control.GetStatus(embed_pb2.GetStatusRequest())).batching == before


async def test_the_status_has_the_limits_that_were_set(small: EngineProcess) -> None:
    async with EmbedClient(small.address) as client:
        limits = (await client.control.GetStatus(embed_pb2.GetStatusRequest())).limits
    assert (limits.max_texts_per_request, limits.max_text_chars, limits.max_batch_items) == (4, 10, 8)
    assert limits.max_queued_tokens


async def test_more_requests_in_flight_than_allowed_are_refused_with_a_time(start_process: StartProcess) -> None:
    engine = start_process(*ONE_THREAD, "--max-requests-in-flight", "2").wait_ready()
    async with EmbedClient(engine.address) as client:
        calls = [client.embed(["word " * 200] * 20) for _ in range(8)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert (await client.embed(["afterwards"])).shape == (1, 384)
    refusals = [one for one in answers if isinstance(one, grpc.aio.AioRpcError)]
    assert {one.code() for one in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert 6 >= len(refusals) >= 1
    assert all("grpc-status-details-bin" in {key for key, _ in one.trailing_metadata()} for one in refusals)


@pytest.mark.parametrize("path", ["/embed.v1.Embedder/Embed", "/embed.v1.Embedder/Similarity"])
async def test_a_message_over_grpc_s_limit_is_exhausted_without_a_time(start_process: StartProcess, path: str) -> None:
    engine = start_process(*ONE_THREAD).wait_ready()
    async with grpc.aio.insecure_channel(engine.address) as channel:
        method: Any = channel.unary_unary(path)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(b"\x0a" * (33 * MIB), timeout=60)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "grpc-status-details-bin" not in {key for key, _ in caught.value.trailing_metadata()}


@pytest.mark.parametrize("mib", [31, 8.5], ids=["over the largest message", "over the largest request"])
async def test_the_memory_of_forty_refused_messages_is_bounded_and_given_back(
    start_process: StartProcess, mib: float
) -> None:
    engine = start_process(*ONE_THREAD).wait_ready()
    process = psutil.Process(engine.process.pid)
    text = "x" * 100_000
    raw = embed_pb2.EmbedRequest(texts=[text] * int(mib * MIB / len(text))).SerializeToString()
    before = process.memory_info().rss
    peak = before

    async def send() -> grpc.StatusCode:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(engine.address, options=options) as channel:
            embed: Any = channel.unary_unary("/embed.v1.Embedder/Embed")
            try:
                await embed(raw, timeout=60)
            except grpc.aio.AioRpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    sending = asyncio.gather(*(send() for _ in range(40)))
    while not sending.done():
        peak = max(peak, process.memory_info().rss)
        await asyncio.wait([sending], timeout=0.05)
    refused = {31: grpc.StatusCode.RESOURCE_EXHAUSTED, 8.5: grpc.StatusCode.INVALID_ARGUMENT}[mib]
    assert set(await sending) <= {refused, grpc.StatusCode.RESOURCE_EXHAUSTED}
    async with asyncio.timeout(30):
        while process.memory_info().rss > before + 100 * MIB:  # noqa: ASYNC110 - another process has no event for it
            await asyncio.sleep(0.2)
    assert peak < before + 900 * MIB
