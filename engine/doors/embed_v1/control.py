"""The Control servicer: switch, status, capabilities, configure, watch, fidelity, drain."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

from engine.api import embed_pb2, embed_pb2_grpc
from engine.capabilities.matrix import capability_matrix
from engine.capabilities.measurements import MeasurementStore
from engine.capabilities.platform import named_platform
from engine.capabilities.probes import environment_hash, stored_probes
from engine.deployment.target import Target
from engine.doors.embed_v1.wire import (
    batching_message,
    cell_message,
    fidelity_event,
    serving_state,
    status_message,
    switch_event,
)
from engine.doors.errors import Context, translates_errors, translates_stream_errors
from engine.doors.limits import EngineLimits
from engine.errors import InvalidRequest
from engine.fidelity.corpus import built_in_corpus, corpus_of
from engine.fidelity.measure import measure, save
from engine.host.machine import PLATFORM_NAMES
from engine.pipeline.embedding import EmbeddingPipeline

MIN_WATCH_INTERVAL_MS = 50
DEFAULT_WATCH_INTERVAL_MS = 1000


class Control(embed_pb2_grpc.ControlServicer):
    """Implements the calls that change or observe the engine."""

    def __init__(
        self,
        pipeline: EmbeddingPipeline,
        limits: EngineLimits,
        drain: Callable[[float | None], Awaitable[tuple[int, int]]],
    ) -> None:
        self._pipeline = pipeline
        self._limits = limits
        self._drain = drain
        self.telemetry = pipeline.telemetry

    @translates_stream_errors
    async def Switch(self, request: embed_pb2.SwitchRequest, context: Context) -> AsyncIterator[embed_pb2.SwitchEvent]:
        """Switches and streams the steps. A caller that leaves before CUT_OVER cancels the switch."""
        wanted = request.target
        target = Target(
            wanted.backend, wanted.precision, wanted.recipe, wanted.device, wanted.model, wanted.instances,
            wanted.threads,
        )  # fmt: skip
        switch = self._pipeline.deployments.switch(target, strict=request.strict, fresh=request.fresh)
        with self._pipeline.streams.open():
            async with aclosing(switch) as steps:
                async for step in steps:
                    yield switch_event(step)

    @translates_errors
    async def GetStatus(self, request: embed_pb2.GetStatusRequest, context: Context) -> embed_pb2.Status:
        """Returns the status of the engine."""
        return status_message(self._pipeline, self._limits, os.getpid())

    @translates_errors
    async def GetCapabilities(
        self, request: embed_pb2.GetCapabilitiesRequest, context: Context
    ) -> embed_pb2.Capabilities:
        """Returns the capability matrix of this machine, or of a named platform."""
        if request.platform and request.platform not in PLATFORM_NAMES:
            raise InvalidRequest(f"unknown platform: choose one of {', '.join(PLATFORM_NAMES)}, or none for this one")
        if request.platform:
            facts = named_platform(request.platform)
            return embed_pb2.Capabilities(
                platform=facts.name, cells=[cell_message(cell) for cell in capability_matrix(facts)]
            )
        facts = self._pipeline.deployments.facts
        store = MeasurementStore.of(self._pipeline.deployments.live.fingerprint, environment_hash(facts))
        probes, measured = await asyncio.to_thread(lambda: (stored_probes(facts), store.read()))
        cells = capability_matrix(facts, probes, measured)
        return embed_pb2.Capabilities(platform=facts.name, cells=[cell_message(cell) for cell in cells])

    @translates_errors
    async def Configure(self, request: embed_pb2.ConfigureRequest, context: Context) -> embed_pb2.BatchingConfig:
        """Changes the batching settings of the next batches."""
        deployments = self._pipeline.deployments
        overrides = deployments.batch_overrides
        if request.HasField("max_batch_tokens"):
            overrides = replace(overrides, max_batch_tokens=request.max_batch_tokens or None)
        if request.HasField("max_batch_items"):
            overrides = replace(overrides, max_batch_items=request.max_batch_items or None)
        if request.HasField("max_wait_ms"):
            overrides = replace(overrides, max_wait_s=request.max_wait_ms / 1e3)
        if request.HasField("coalesce"):
            overrides = replace(overrides, coalesce=request.coalesce)
        overrides.check(self._limits.batching)
        return batching_message(deployments.configure(overrides))

    @translates_stream_errors
    async def Watch(self, request: embed_pb2.WatchRequest, context: Context) -> AsyncIterator[embed_pb2.Frame]:
        """Streams frames at the caller's interval. A slower reader gets fewer frames; frames do not accumulate."""
        interval_s = max(MIN_WATCH_INTERVAL_MS, request.interval_ms or DEFAULT_WATCH_INTERVAL_MS) / 1e3
        sequence = 0
        next_s = self.telemetry.now_s()
        with self._pipeline.streams.open():
            while True:
                sequence += 1
                yield self._frame(sequence)
                now_s = self.telemetry.now_s()
                next_s = max(next_s + interval_s, now_s)
                await asyncio.sleep(next_s - now_s)

    def _frame(self, sequence: int) -> embed_pb2.Frame:
        telemetry = self.telemetry
        deployments = self._pipeline.deployments
        scheduler = deployments.live.scheduler
        counts = telemetry.counts
        rss_bytes, cpu_s, threads = telemetry.process_usage()
        step = deployments.running_switch
        histograms = {
            stage: embed_pb2.Histogram(hdr_v2=one.encoded(), count=one.count, sum_us=one.sum_us)
            for stage, one in telemetry.histograms.items()
        }
        stats = scheduler.stats()
        return embed_pb2.Frame(
            sequence=sequence,
            monotonic_s=telemetry.now_s(),
            epoch=deployments.live.epoch,
            counters=embed_pb2.Counters(
                requests=counts.requests,
                texts=counts.texts,
                pairs=counts.pairs,
                tokens=counts.tokens,
                padded_tokens=counts.padded_tokens,
                batches=counts.batches,
                batch_items=counts.batch_items,
                truncated_texts=counts.truncated_texts,
                expired=counts.expired,
                cancelled=counts.cancelled,
                poisoned=counts.poisoned,
                split_batches=counts.split_batches,
                out_of_memory_batches=counts.out_of_memory_batches,
                refused_for_memory=counts.refused_for_memory,
                lost_instances=counts.lost_instances,
                hung_instances=counts.hung_instances,
                errors=counts.errors,
            ),
            **histograms,
            queued_items=stats.queued_items,
            queued_tokens=stats.queued_tokens,
            in_flight_requests=telemetry.in_flight_requests,
            oldest_in_flight_s=telemetry.oldest_in_flight_s,
            idle_instances=stats.idle_instances,
            rss_bytes=rss_bytes,
            cpu_s=cpu_s,
            state=serving_state(self._pipeline),
            switch=None if step is None else switch_event(step),
            threads=threads,
            abandoned_threads=stats.abandoned_threads,
        )

    @translates_stream_errors
    async def MeasureFidelity(
        self, request: embed_pb2.MeasureFidelityRequest, context: Context
    ) -> AsyncIterator[embed_pb2.FidelityEvent]:
        """Embeds the built-in or the caller's texts through the live queue; compares them with torch fp32 vectors."""
        live = self._pipeline.deployments.live
        corpus = corpus_of("the corpus", request.corpus) if request.corpus else built_in_corpus()
        if request.texts:
            corpus = corpus_of("the corpus", corpus.texts[: request.texts])
        arrived: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue()
        with live.bound(), self._pipeline.streams.open():
            measurement = asyncio.create_task(
                measure(
                    live,
                    corpus,
                    self._pipeline.deployments.store,
                    lambda phase, done: arrived.put_nowait((phase, done)),
                )
            )
            measurement.add_done_callback(lambda _: arrived.put_nowait(None))
            try:
                while (progress := await arrived.get()) is not None:
                    phase, done = progress
                    yield embed_pb2.FidelityEvent(done=done, total=2 * len(corpus.texts), epoch=live.epoch, phase=phase)
                fidelity = await measurement
            finally:
                measurement.cancel()
        if not request.corpus and not request.texts:
            save(live, fidelity, self._pipeline.deployments.facts)
        yield fidelity_event(fidelity, live.epoch)

    @translates_errors
    async def Drain(self, request: embed_pb2.DrainRequest, context: Context) -> embed_pb2.DrainResponse:
        """Returns when every request in flight is answered or the grace period is over; the engine then exits."""
        grace_s = request.grace.ToTimedelta().total_seconds() if request.HasField("grace") else None
        answered, abandoned = await self._drain(grace_s)
        return embed_pb2.DrainResponse(answered=answered, abandoned=abandoned)
