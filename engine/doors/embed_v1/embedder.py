"""The Embedder servicer: translates wire messages to calls of `EmbeddingPipeline`."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np

from engine.api import embed_pb2, embed_pb2_grpc
from engine.deployment.live import LiveDeployment
from engine.doors.decoding import MessageDecoder, leading_id
from engine.doors.embed_v1.wire import deployment_message
from engine.doors.errors import Context, count_failure, status_of, translates_errors
from engine.doors.inbound import InboundMemory
from engine.errors import EngineError, InvalidRequest
from engine.pipeline.embedding import EmbeddingPipeline, EmbedOptions
from engine.pipeline.metrics import RequestTimings

STREAM_WINDOW = 256
"""The most unanswered messages of a stream. The engine then stops reading it, which is flow control to the client."""


_STREAM_DECODER = MessageDecoder(embed_pb2.StreamRequest)


class Embedder(embed_pb2_grpc.EmbedderServicer):
    """Implements Embed, EmbedStream and Similarity."""

    def __init__(self, pipeline: EmbeddingPipeline, inbound: InboundMemory) -> None:
        self._pipeline = pipeline
        self._inbound = inbound
        self.telemetry = pipeline.telemetry
        self._deployment_cache: tuple[LiveDeployment | None, embed_pb2.Deployment] = (None, embed_pb2.Deployment())

    @translates_errors
    async def Embed(self, request: embed_pb2.EmbedRequest, context: Context) -> embed_pb2.EmbedResponse:
        """Embeds the texts of a request."""
        return await self._embed(request, self._deadline_s(context.time_remaining()))

    @translates_errors
    async def EmbedStream(  # type: ignore[override]  # registered with encoded requests; grpc.aio takes a coroutine too
        self, requests: AsyncIterator[bytes], context: Context
    ) -> None:
        """Embeds up to STREAM_WINDOW messages concurrently, and writes the responses in the order of the messages.

        `requests`: encoded StreamRequest messages.
        """
        room = asyncio.Semaphore(STREAM_WINDOW)
        last: asyncio.Task[None] | None = None
        with self._pipeline.streams.open():
            async with asyncio.TaskGroup() as answers:  # a response that cannot be written also ends reading
                async for raw in requests:
                    await room.acquire()
                    last = answers.create_task(self._write_in_order(raw, context, last, room))

    async def _write_in_order(
        self,
        raw: bytes,
        context: Context,
        before: asyncio.Task[None] | None,
        room: asyncio.Semaphore,
    ) -> None:
        """Writes the response of a message after that of `before`, and releases its place in the window."""
        answer = await self._answer_encoded(raw, context)
        if before is not None and not before.done():
            await before
        await context.write(answer)
        room.release()

    async def _answer_encoded(self, raw: bytes, context: Context) -> embed_pb2.StreamResponse:
        """Decodes and answers a message. One that is malformed, or does not fit in memory, fails alone."""
        try:
            with self._inbound.hold(len(raw)):
                return await self._answer_message(_STREAM_DECODER.decode(raw), context)
        except EngineError as error:
            count_failure(self.telemetry, error)
            return embed_pb2.StreamResponse(id=leading_id(raw), error=status_of(error))

    async def _answer_message(self, message: embed_pb2.StreamRequest, context: Context) -> embed_pb2.StreamResponse:
        remaining_s = context.time_remaining()
        if message.timeout_ms:
            timeout_s = message.timeout_ms / 1000
            remaining_s = timeout_s if remaining_s is None else min(remaining_s, timeout_s)
        try:
            response = await self._embed(message.request, self._deadline_s(remaining_s))
        except Exception as error:
            count_failure(self.telemetry, error)
            return embed_pb2.StreamResponse(id=message.id, error=status_of(error))
        return embed_pb2.StreamResponse(id=message.id, response=response)

    @translates_errors
    async def Similarity(self, request: embed_pb2.SimilarityRequest, context: Context) -> embed_pb2.SimilarityResponse:
        """Computes the cosine of each pair. Both texts are in one request and therefore run on one deployment."""
        if not request.pairs:
            raise InvalidRequest("the list of pairs is empty: send at least one pair")
        texts = [text for pair in request.pairs for text in (pair.text_a, pair.text_b)]
        deadline_s = self._deadline_s(context.time_remaining())
        options = EmbedOptions(normalize=True, serialize=False)
        embedding = await self._pipeline.embed(texts, options, deadline_s, pairs=len(request.pairs))
        vectors = embedding.vectors
        scores = np.einsum("ij,ij->i", vectors[0::2], vectors[1::2])
        return embed_pb2.SimilarityResponse(
            scores=scores.tolist(),
            epoch=embedding.live.epoch,
            deployment=self._deployment(embedding.live),
            timings=_timings(embedding.timings),
        )

    async def _embed(self, request: embed_pb2.EmbedRequest, deadline_s: float | None) -> embed_pb2.EmbedResponse:
        embedding = await self._pipeline.embed(request.texts, _options(request), deadline_s)
        return embed_pb2.EmbedResponse(
            vectors=embedding.payload,
            count=embedding.vectors.shape[0],
            dim=embedding.vectors.shape[1],
            dtype=request.dtype,
            epoch=embedding.live.epoch,
            deployment=self._deployment(embedding.live),
            timings=_timings(embedding.timings),
            token_counts=embedding.token_counts,
            truncated=embedding.truncated,
        )

    def _deployment(self, live: LiveDeployment) -> embed_pb2.Deployment:
        """Returns the message of a deployment, which is built once per deployment rather than once per request."""
        if self._deployment_cache[0] is not live:
            self._deployment_cache = (live, deployment_message(live.plan.effective))
        return self._deployment_cache[1]

    def _deadline_s(self, remaining_s: float | None) -> float | None:
        return None if remaining_s is None else self.telemetry.now_s() + remaining_s


def _options(request: embed_pb2.EmbedRequest) -> EmbedOptions:
    return EmbedOptions(
        half=request.dtype == embed_pb2.FLOAT16,
        dimensions=request.dimensions,
        normalize=request.normalize if request.HasField("normalize") else None,
        truncation_is_error=request.truncate == embed_pb2.ERROR,
        prompt_name=request.prompt_name,
    )


def _timings(timings: RequestTimings) -> embed_pb2.StageTimings:
    return embed_pb2.StageTimings(
        queue_ms=timings.queue_s * 1e3,
        tokenize_ms=timings.tokenize_s * 1e3,
        infer_ms=timings.infer_s * 1e3,
        serialize_ms=timings.serialize_s * 1e3,
    )
