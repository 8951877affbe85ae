"""Guarantees to a gRPC client that embeds texts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from engine.api import embed_pb2
from engine.api.client import EmbedClient, vectors_of
from tests.support.engine_process import EngineProcess
from tests.support.patience import HANGS_AFTER_S
from tests.support.reference import reference_vectors

TEXTS = ["how do I reset my password", "the cat sat on the mat", "", "Zürich – naïve café 東京", "a " * 40]
CANARY = "zanzibar-quartz"


async def refused(call: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]  # any awaitable call
    return caught.value


async def test_vectors_are_those_of_sentence_transformers(client: EmbedClient) -> None:
    vectors = await client.embed(TEXTS)
    cosines = np.sum(vectors * reference_vectors(TEXTS), axis=1)
    assert vectors.dtype == np.float32
    assert cosines.min() >= 0.9999


async def test_a_response_says_what_answered_it_and_where_its_time_went(client: EmbedClient) -> None:
    response = await client.embedder.Embed(embed_pb2.EmbedRequest(texts=TEXTS))
    assert (response.count, response.dim) == (len(TEXTS), 384)
    assert len(response.vectors) == len(TEXTS) * 384 * 4
    assert response.deployment.backend == "onnx"
    assert response.deployment.precision == "fp32"
    assert response.deployment.model == "sentence-transformers/all-MiniLM-L6-v2"
    assert response.deployment.instances >= 1
    assert response.epoch == 1
    assert response.timings.infer_ms > 0
    assert response.timings.tokenize_ms > 0
    assert list(response.token_counts)[2] == 2, "an empty string is a text of two special tokens"
    assert not any(response.truncated)


async def test_long_texts_are_cut_at_the_models_limit_and_marked(client: EmbedClient) -> None:
    response = await client.embedder.Embed(embed_pb2.EmbedRequest(texts=["short", "word " * 1000]))
    assert list(response.truncated) == [False, True]
    assert response.token_counts[1] == 256


async def test_truncation_can_be_refused(client: EmbedClient) -> None:
    request = embed_pb2.EmbedRequest(texts=["short", f"{CANARY} " * 1000], truncate=embed_pb2.ERROR)
    error = await refused(client.embedder.Embed(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "text 1" in (error.details() or "")
    assert "256" in (error.details() or "")
    assert CANARY not in (error.details() or "")


async def test_half_precision_vectors_are_half_the_bytes(client: EmbedClient) -> None:
    full = await client.embedder.Embed(embed_pb2.EmbedRequest(texts=TEXTS))
    half = await client.embedder.Embed(embed_pb2.EmbedRequest(texts=TEXTS, dtype=embed_pb2.FLOAT16))
    assert len(half.vectors) * 2 == len(full.vectors)
    assert np.abs(vectors_of(half).astype(np.float32) - vectors_of(full)).max() < 1e-3


async def test_fewer_dimensions_are_cut_and_normalised_again(client: EmbedClient) -> None:
    full = vectors_of(await client.embedder.Embed(embed_pb2.EmbedRequest(texts=TEXTS)))
    cut = vectors_of(await client.embedder.Embed(embed_pb2.EmbedRequest(texts=TEXTS, dimensions=64)))
    expected = full[:, :64] / np.linalg.norm(full[:, :64], axis=1, keepdims=True)
    assert np.abs(cut - expected).max() < 1e-5


async def test_vectors_can_be_left_unnormalised(client: EmbedClient) -> None:
    raw = vectors_of(await client.embedder.Embed(embed_pb2.EmbedRequest(texts=TEXTS, normalize=False)))
    lengths = np.linalg.norm(raw, axis=1)
    assert np.all(np.abs(lengths - 1) > 1e-3)
    unit = vectors_of(await client.embedder.Embed(embed_pb2.EmbedRequest(texts=TEXTS)))
    assert np.sum(raw / lengths[:, None] * unit, axis=1).min() > 0.99999


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"texts": []}, "at least one text"),
        ({"texts": ["x"] * 100_000}, "split it"),
        ({"texts": [CANARY * 500_000]}, "split it into passages"),
        ({"texts": [CANARY], "dimensions": 385}, "384"),
        ({"texts": [CANARY], "prompt_name": "query"}, "prompt"),
        ({"texts": [CANARY], "dtype": 7}, "FLOAT32 or FLOAT16"),
    ],
    ids=[
        "empty list",
        "100,000 texts",
        "a text of megabytes",
        "too many dimensions",
        "unknown prompt",
        "unknown dtype",
    ],
)
async def test_bad_input_is_refused_with_the_next_step_and_never_echoed(
    client: EmbedClient, field: dict[str, object], expected: str
) -> None:
    error = await refused(client.embedder.Embed(embed_pb2.EmbedRequest(**field)))  # type: ignore[arg-type]  # bad on purpose
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert expected in (error.details() or "")
    assert CANARY not in (error.details() or "")
    assert (await client.embed(["still serving"])).shape == (1, 384)


async def test_a_deadline_in_the_queue_is_honoured(client: EmbedClient) -> None:
    call = client.embedder.Embed(embed_pb2.EmbedRequest(texts=["word " * 300] * 2000), timeout=0.05)
    error = await refused(call)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_pairs_are_scored_by_cosine(client: EmbedClient) -> None:
    pairs = [("a cat", "a kitten"), ("a cat", "quarterly revenue"), ("same", "same")]
    scores = await client.similarity(pairs)
    left, right = reference_vectors([a for a, _ in pairs]), reference_vectors([b for _, b in pairs])
    assert np.abs(np.array(scores) - np.sum(left * right, axis=1)).max() < 1e-4
    error = await refused(client.embedder.Similarity(embed_pb2.SimilarityRequest()))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_answers_in_order_and_a_bad_message_fails_alone(client: EmbedClient) -> None:
    lists: Sequence[Sequence[str]] = [["one"], [], ["two", "three " * 50], ["four"] * 100, ["five"]]

    async def questions() -> AsyncIterator[embed_pb2.StreamRequest]:
        for number, texts in enumerate(lists):
            yield embed_pb2.StreamRequest(id=10 + number, request=embed_pb2.EmbedRequest(texts=texts))

    answers = [answer async for answer in client.embedder.EmbedStream(questions())]
    assert [answer.id for answer in answers] == [10, 11, 12, 13, 14]
    assert [answer.WhichOneof("result") for answer in answers] == [
        "response",
        "error",
        "response",
        "response",
        "response",
    ]
    assert answers[1].error.code == code_pb2.INVALID_ARGUMENT
    assert [answer.response.count for answer in answers] == [1, 0, 2, 100, 1]


async def test_one_message_of_a_stream_may_time_out_alone(client: EmbedClient) -> None:
    async def questions() -> AsyncIterator[embed_pb2.StreamRequest]:
        slow = embed_pb2.EmbedRequest(texts=["word " * 300] * 500)
        yield embed_pb2.StreamRequest(id=1, request=slow, timeout_ms=20)
        yield embed_pb2.StreamRequest(id=2, request=embed_pb2.EmbedRequest(texts=["quick"]))

    answers = [answer async for answer in client.embedder.EmbedStream(questions())]
    assert answers[0].error.code == code_pb2.DEADLINE_EXCEEDED
    assert answers[1].response.count == 1


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_a_caller_that_leaves_costs_no_forward_pass_for_what_was_queued(
    client: EmbedClient, stream: bool
) -> None:
    before = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest())))
    call: Any
    if stream:
        call = client.embedder.EmbedStream()
        part = embed_pb2.EmbedRequest(texts=["word " * 300] * 250)
        for number in range(8):
            await call.write(embed_pb2.StreamRequest(id=number, request=part))
    else:
        call = client.embedder.Embed(embed_pb2.EmbedRequest(texts=["word " * 300] * 2000))
    async for frame in client.control.Watch(embed_pb2.WatchRequest(interval_ms=50)):
        if frame.queued_items > 500:
            break
    call.cancel()
    async for frame in client.control.Watch(embed_pb2.WatchRequest(interval_ms=50)):
        if frame.queued_items == 0 and frame.idle_instances == 2:
            break
    assert frame.counters.cancelled - before.counters.cancelled > 500
    assert frame.counters.batch_items - before.counters.batch_items < 1500


@asynccontextmanager
async def both_instances_busy(client: EmbedClient) -> AsyncIterator[int]:
    """Keeps every instance busy, so that the next requests queue up. Yields the number of texts that keep them busy."""
    long = ["word " * 300] * 32
    answer = asyncio.ensure_future(client.embed(long))
    async for frame in client.control.Watch(embed_pb2.WatchRequest(interval_ms=50)):
        if frame.idle_instances == 0:
            break
    yield len(long)
    await answer


async def test_many_callers_are_coalesced_into_few_batches_and_none_gets_anothers_answer(client: EmbedClient) -> None:
    texts = [f"{word} number {number}" for number in range(50) for word in ("alpha", "beta of a longer kind")]
    before = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest())))
    async with both_instances_busy(client) as busy:
        vectors = np.concatenate(await asyncio.gather(*(client.embed([text]) for text in texts)))
    after = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest())))
    assert np.sum(vectors * reference_vectors(texts), axis=1).min() >= 0.9999
    batches = after.counters.batches - before.counters.batches
    assert after.counters.batch_items - before.counters.batch_items == len(texts) + busy
    assert batches <= len(texts) // 3


async def test_coalescing_can_be_turned_off_and_on_while_serving(client: EmbedClient) -> None:
    try:
        config = await client.control.Configure(embed_pb2.ConfigureRequest(coalesce=False))
        assert not config.coalesce
        before = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest())))
        await asyncio.gather(*(client.embed([f"text {number}"]) for number in range(30)))
        after = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest())))
        assert after.counters.batches - before.counters.batches == 30
    finally:
        config = await client.control.Configure(embed_pb2.ConfigureRequest(coalesce=True))
    assert config.coalesce
    fixed = await client.control.Configure(embed_pb2.ConfigureRequest(max_batch_items=3))
    planned = await client.control.Configure(embed_pb2.ConfigureRequest(max_batch_items=0))
    status = await client.control.GetStatus(embed_pb2.GetStatusRequest())
    assert (fixed.max_batch_items, planned.max_batch_items) == (3, status.plan.max_batch_items)
    error = await refused(client.control.Configure(embed_pb2.ConfigureRequest(max_wait_ms=-1)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_health_and_reflection_are_the_standard_ones(shared_engine: EngineProcess) -> None:
    async with grpc.aio.insecure_channel(shared_engine.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "embed.v1.Embedder"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)

        async def questions() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            yield ask

        async for answer in stub.ServerReflectionInfo(questions()):
            names = {service.name for service in answer.list_services_response.service}
        assert {"embed.v1.Embedder", "embed.v1.Control", "grpc.health.v1.Health"} <= names


async def test_status_tells_what_runs_with_its_proof_and_its_limits(client: EmbedClient) -> None:
    status = await client.control.GetStatus(embed_pb2.GetStatusRequest())
    assert status.effective.backend == "onnx"
    assert "float32" in status.evidence
    assert status.model.dim == 384
    assert status.model.pooling == "mean"
    assert status.limits.max_texts_per_request >= 1000
    assert status.state == embed_pb2.SERVING
    assert status.cores >= 1


async def test_live_fidelity_is_measured_through_the_queue(client: EmbedClient) -> None:
    events = [event async for event in client.control.MeasureFidelity(embed_pb2.MeasureFidelityRequest(texts=64))]
    assert events[-1].cosine.mean > 0.9999
    assert events[-1].done == events[-1].total >= 16


async def test_watching_slowly_loses_no_count(client: EmbedClient) -> None:
    first = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest(interval_ms=50))))
    for _ in range(5):
        await client.embed(["one", "two"])
    last = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest(interval_ms=50))))
    assert last.counters.requests - first.counters.requests == 5
    assert last.counters.texts - first.counters.texts == 10
    assert last.infer.count - first.infer.count == 5
    assert last.rss_bytes > 0
    assert last.cpu_s > first.cpu_s


async def test_a_full_engine_refuses_at_once_and_says_when_to_come_back(client: EmbedClient) -> None:
    heavy = embed_pb2.EmbedRequest(texts=["word " * 300] * 2048)
    calls = [client.embedder.Embed(heavy, timeout=HANGS_AFTER_S) for _ in range(12)]
    waiting = [asyncio.ensure_future(_outcome(call)) for call in calls]
    done, _ = await asyncio.wait(waiting, timeout=HANGS_AFTER_S, return_when=asyncio.FIRST_COMPLETED)
    first = next(iter(done)).result()
    for call in calls:
        call.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    async for frame in client.control.Watch(embed_pb2.WatchRequest(interval_ms=50)):
        if frame.idle_instances == 2:
            break
    assert isinstance(first, grpc.aio.AioRpcError)
    assert first.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert any(key == "grpc-status-details-bin" for key, _ in first.trailing_metadata() or ())


async def _outcome(call: object) -> object:
    try:
        return await call  # type: ignore[misc]  # any awaitable call
    except grpc.aio.AioRpcError as error:
        return error
