"""No response contains a number that is not finite: a vector that the dtype cannot represent is an error."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, NoReturn

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.api import embed_pb2
from engine.deployment.target import Deployment
from engine.doors.embed_v1.embedder import Embedder
from engine.doors.inbound import InboundMemory
from engine.models.tokenizer import TokenizedText
from engine.pipeline.embedding import EmbeddingPipeline, RequestLimits
from engine.pipeline.metrics import Telemetry
from engine.scheduling import Admission, AdmissionLimits, BatchPolicy, Scheduler, TokenIds, Vectors

LARGEST_HALF = 65504.0
UNIT = np.array([[1, 0, 0], [0, 0, 1]], np.float32)


class Call:
    """The context of a unary call, which records how the call was aborted."""

    code: grpc.StatusCode | None = None
    details = ""

    def time_remaining(self) -> None:
        """No deadline."""

    async def abort(self, code: grpc.StatusCode, details: str, _: object) -> NoReturn:
        self.code, self.details = code, details
        raise grpc.aio.AbortError


@asynccontextmanager
async def engine(unit: NDArray[np.float32], norms: Sequence[float]) -> AsyncIterator[Embedder]:
    """An engine whose model gives text i of a request row i of these vectors, without normalisation."""

    def forward(texts: Sequence[TokenIds]) -> Vectors:
        rows = [text[0] for text in texts]
        return Vectors(unit[rows], np.array(norms, np.float32)[rows])

    telemetry = Telemetry()
    scheduler = Scheduler([forward], BatchPolicy(), telemetry, name="test")
    card = SimpleNamespace(normalize=False, dim=3, prompts={}, default_prompt=None, max_tokens=9)
    live = SimpleNamespace(
        model_card=card, bound=nullcontext, scheduler=scheduler, epoch=1,
        tokenizer=SimpleNamespace(
            encode_inline=lambda texts, _, __: [TokenizedText([row], truncated=False) for row in range(len(texts))]
        ),
        plan=SimpleNamespace(effective=Deployment("onnx", "fp32", "plain", "cpu", "some/model", 1, 1)),
    )  # fmt: skip
    deployments: Any = SimpleNamespace(live=live)
    pipeline = EmbeddingPipeline(deployments, Admission(AdmissionLimits()), telemetry, RequestLimits())
    try:
        yield Embedder(pipeline, InboundMemory())
    finally:
        pipeline.close()
        await scheduler.close()


async def refused(embedder: Embedder, **fields: Any) -> Any:
    """Sends a request of two texts, which must be refused and counted. Returns the call."""
    call: Any = Call()
    with pytest.raises(grpc.aio.AbortError):
        await embedder.Embed(embed_pb2.EmbedRequest(texts=["one", "two"], **fields), call)
    assert embedder.telemetry.counts.errors == {call.code.name: 1}
    return call


async def embedded(embedder: Embedder, **fields: Any) -> NDArray[Any]:
    request = embed_pb2.EmbedRequest(texts=["one", "two"], **fields)
    call: Any = Call()
    answer = await embedder.Embed(request, call)
    dtype = np.float16 if fields.get("dtype") == embed_pb2.FLOAT16 else np.float32
    return np.frombuffer(answer.vectors, dtype).reshape(answer.count, answer.dim)


async def test_a_vector_that_does_not_fit_float16_is_refused_with_the_next_step() -> None:
    async with engine(UNIT, [1.0, 70_000.0]) as embedder:
        call = await refused(embedder, dtype=embed_pb2.FLOAT16)
        assert call.code is grpc.StatusCode.INTERNAL
        assert "text 1" in call.details
        assert "request FLOAT32" in call.details
        assert "normalize" in call.details
        assert embedder.telemetry.in_flight_requests == 0


async def test_following_the_next_step_of_a_refusal_succeeds() -> None:
    async with engine(UNIT, [1.0, 70_000.0]) as embedder:
        assert (await embedded(embedder))[1, 2] == 70_000
        assert (await embedded(embedder, dtype=embed_pb2.FLOAT16, normalize=True))[1, 2] == 1
        assert (await embedded(embedder, dtype=embed_pb2.FLOAT16, dimensions=2)).tolist() == [[1, 0], [0, 0]]


async def test_the_largest_number_of_float16_is_still_answered() -> None:
    async with engine(UNIT, [1.0, LARGEST_HALF]) as embedder:
        assert (await embedded(embedder, dtype=embed_pb2.FLOAT16))[1, 2] == LARGEST_HALF


async def test_a_vector_that_does_not_fit_float32_without_normalising_is_refused_too() -> None:
    unit = np.array([[1, 0, 0], [0, 0, 1.0000001]], np.float32)
    async with engine(unit, [1.0, float(np.finfo(np.float32).max)]) as embedder:
        call = await refused(embedder)
        assert call.code is grpc.StatusCode.INTERNAL
        assert "text 1" in call.details
        assert "normalize" in call.details
        assert "request FLOAT32" not in call.details


@pytest.mark.parametrize("dtype", [embed_pb2.FLOAT32, embed_pb2.FLOAT16])
@pytest.mark.parametrize("dimensions", [0, 2])
async def test_a_zero_vector_stays_zero(dtype: embed_pb2.DType, dimensions: int) -> None:
    async with engine(np.zeros((2, 3), np.float32), [0.0, 0.0]) as embedder:
        for normalize in (True, False):
            assert not (await embedded(embedder, dtype=dtype, dimensions=dimensions, normalize=normalize)).any()


async def test_a_vector_whose_kept_dimensions_are_zero_stays_zero() -> None:
    async with engine(UNIT, [1.0, 1.0]) as embedder:
        assert (await embedded(embedder, dimensions=2, normalize=True)).tolist() == [[1, 0], [0, 0]]
