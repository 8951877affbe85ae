"""Guarantees to callers while a switch replaces the deployment."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from engine.api import embed_pb2
from engine.api.client import EmbedClient, vectors_of
from tests.support.engine_process import EngineProcess
from tests.support.patience import HANGS_AFTER_S
from tests.support.reference import reference_vectors

TEXTS = [f"{subject} {verb} number {number}" for number in range(8) for subject in ("a cat", "revenue of the quarter")
         for verb in ("sleeps", "grew by more than anybody expected in", "is")]  # fmt: skip
SWITCHES = 4


def target(backend: str, **fields: object) -> embed_pb2.SwitchRequest:
    return embed_pb2.SwitchRequest(target=embed_pb2.Deployment(backend=backend, **fields))  # type: ignore[arg-type]  # by name


async def switch(client: EmbedClient, request: embed_pb2.SwitchRequest) -> list[embed_pb2.SwitchEvent]:
    return [event async for event in client.control.Switch(request, timeout=HANGS_AFTER_S)]


class Callers:
    """Concurrent callers that check every answer, until `stop`."""

    def __init__(self, client: EmbedClient, concurrency: int) -> None:
        self.client = client
        self.answers: Counter[tuple[int, str]] = Counter()
        self.lowest_cosine = 1.0
        self._expected = reference_vectors(TEXTS)
        self._turns = itertools.count()
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._call()) for _ in range(concurrency)]

    async def _call(self) -> None:
        while not self._stop.is_set():
            start = next(self._turns) * 7 % (len(TEXTS) - 12)
            chosen = slice(start, start + 1 + start % 12)
            response = await self.client.embedder.Embed(
                embed_pb2.EmbedRequest(texts=TEXTS[chosen]), timeout=HANGS_AFTER_S
            )
            cosines = np.sum(vectors_of(response) * self._expected[chosen], axis=1)
            self.lowest_cosine = min(self.lowest_cosine, float(cosines.min()))
            self.answers[response.epoch, response.deployment.backend] += 1

    async def stop(self) -> None:
        """Stops the callers; raises the first exception of any of them."""
        self._stop.set()
        await asyncio.gather(*self._tasks)


async def test_no_request_fails_or_is_mixed_while_backends_are_switched_under_load(
    start_engine: Callable[..., EngineProcess],
) -> None:
    engine = start_engine("--backend", "onnx").wait_ready()
    async with EmbedClient(engine.address) as client:
        callers = Callers(client, concurrency=16)
        for number in range(SWITCHES):
            wanted = ("torch", "onnx")[number % 2]
            events = await switch(client, target(wanted))
            assert [event.state for event in events][-1] == embed_pb2.RELEASED
            assert events[-1].epoch == number + 2
            assert events[-1].effective.backend == wanted
            answered = callers.answers[number + 2, wanted]
            async for _ in client.control.Watch(embed_pb2.WatchRequest(interval_ms=50), timeout=HANGS_AFTER_S):
                if callers.answers[number + 2, wanted] >= answered + 20:
                    break
        await callers.stop()
        backends_of = {epoch: {b for e, b in callers.answers if e == epoch} for epoch, _ in callers.answers}
        assert all(len(backends) == 1 for backends in backends_of.values()), "an epoch is one deployment"
        assert set(backends_of) == set(range(1, SWITCHES + 2))
        assert callers.lowest_cosine >= 0.9999
        frame = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest())))
        assert not frame.counters.errors


async def test_a_switch_shows_every_state_in_order(start_engine: Callable[..., EngineProcess]) -> None:
    engine = start_engine("--backend", "onnx", "--instances", "1").wait_ready()
    async with EmbedClient(engine.address) as client:
        events = await switch(client, target("", instances=2, threads=1))
        states = [event.state for event in events]
        assert sorted(set(states), key=states.index) == [
            embed_pb2.REQUESTED, embed_pb2.PREPARING, embed_pb2.LOADING, embed_pb2.VERIFYING, embed_pb2.CUT_OVER,
            embed_pb2.DRAINING, embed_pb2.RELEASED,
        ]  # fmt: skip
        status = await client.control.GetStatus(embed_pb2.GetStatusRequest())
        assert status.effective.instances == 2
        assert status.effective.backend == "onnx", "empty fields keep what is live"
        assert status.epoch == 2


async def test_the_same_target_again_changes_nothing(client: EmbedClient) -> None:
    events = await switch(client, target("onnx", precision="fp32"))
    assert events[-1].state == embed_pb2.RELEASED
    assert events[-1].epoch == 1
    assert embed_pb2.CUT_OVER not in [event.state for event in events]


async def test_a_precision_that_cannot_run_falls_back_aloud_or_fails_when_strict(
    start_engine: Callable[..., EngineProcess],
) -> None:
    engine = start_engine("--backend", "onnx", "--precision", "bf16").wait_ready()
    assert engine.ready["requested"]["precision"] == "bf16"
    assert engine.ready["effective"]["precision"] == "fp32"
    assert [warning["code"] for warning in engine.ready["warnings"]] == ["unsupported_precision"]
    async with EmbedClient(engine.address) as client:
        status = await client.control.GetStatus(embed_pb2.GetStatusRequest())
        sentence = engine.ready["warnings"][0]["message"]
        assert [warning.message for warning in status.warnings] == [sentence]
        cells = (await client.control.GetCapabilities(embed_pb2.GetCapabilitiesRequest())).cells
        assert sentence in [cell.reason for cell in cells], "one rule wrote the sentence"
        request = target("onnx", precision="bf16")
        request.strict = True
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await switch(client, request)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert (await client.embed(["still serving"])).shape == (1, 384)
        events = await switch(client, target("onnx", precision="fp32"))
        assert not events[-1].warnings, "effective equals requested again"
        assert events[-1].epoch == 1, "the same weights were live already"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (target("tensorflow"), grpc.StatusCode.INVALID_ARGUMENT),
        (target("onnx", precision="fp12"), grpc.StatusCode.INVALID_ARGUMENT),
        (target("onnx", device="cuda:0"), grpc.StatusCode.FAILED_PRECONDITION),
        (target("onnx", recipe="magic"), grpc.StatusCode.FAILED_PRECONDITION),
        (target("onnx", model="/no/such/folder"), grpc.StatusCode.FAILED_PRECONDITION),
        (target("onnx", instances=1000), grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["backend", "precision", "device", "recipe", "model", "instances"],
)
async def test_a_switch_that_cannot_be_made_leaves_the_old_one_serving(
    client: EmbedClient, request_: embed_pb2.SwitchRequest, code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await switch(client, request_)
    assert caught.value.code() is code
    assert (await client.embed(["still serving"])).shape == (1, 384)
    assert (await client.control.GetStatus(embed_pb2.GetStatusRequest())).epoch == 1


async def test_a_second_switch_is_aborted_and_a_dropped_one_cancelled(
    start_engine: Callable[..., EngineProcess],
) -> None:
    engine = start_engine("--backend", "onnx").wait_ready()
    async with EmbedClient(engine.address) as client:
        first = client.control.Switch(target("torch"))
        assert (await anext(aiter(first))).state == embed_pb2.REQUESTED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await switch(client, target("torch"))
        assert caught.value.code() is grpc.StatusCode.ABORTED
        first.cancel()
        async with asyncio.timeout(HANGS_AFTER_S):
            async for frame in client.control.Watch(embed_pb2.WatchRequest(interval_ms=50)):
                if not frame.HasField("switch"):
                    break
        status = await client.control.GetStatus(embed_pb2.GetStatusRequest())
        assert (status.epoch, status.effective.backend) == (1, "onnx")
        assert (await switch(client, target("torch")))[-1].effective.backend == "torch", "and can be asked for again"


async def test_naming_the_live_model_by_the_id_that_it_reports_switches_nothing(
    shared_engine: EngineProcess,
) -> None:
    async with EmbedClient(shared_engine.address) as client:
        before = await client.control.GetStatus(embed_pb2.GetStatusRequest())
        events = await switch(client, target("onnx", precision="fp32", model=before.effective.model))
        after = await client.control.GetStatus(embed_pb2.GetStatusRequest())
    assert events[-1].message == "already live: nothing to do"
    assert (after.epoch, after.requested, after.effective) == (before.epoch, before.requested, before.effective)
    assert (after.plan, after.batching) == (before.plan, before.batching)
