"""A fake of `engine serve`: the same ready line, lifeline and wire, plausible answers, and faults on demand.

It serves to test the console with behaviour that a healthy engine never shows.
`python -m tests.support.fake_engine [flags]` starts it.
"""
# ruff: noqa: N802 - the wire names its methods

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hdrh.histogram import HdrHistogram

from engine.api import embed_pb2, embed_pb2_grpc

DIM = 384
MODEL = "fake/MiniLM"


class FakeEngine(embed_pb2_grpc.EmbedderServicer, embed_pb2_grpc.ControlServicer):
    """Answers after `delay_s`. `fault` selects a fault to simulate."""

    def __init__(self, backend: str = "onnx", precision: str = "fp32", delay_s: float = 0.0, fault: str = "") -> None:
        self.delay_s = delay_s
        self.fault = fault
        self.switch_step_s = 0.0
        self.one_at_a_time: asyncio.Lock | None = None
        """With a lock, requests are served one after another, so that `delay_s` is a service time and a queue grows."""
        self.live = embed_pb2.Deployment(
            backend=backend, precision=precision, device="cpu", model=MODEL, instances=2, threads=1
        )
        self.requested = embed_pb2.Deployment(backend=backend, precision=precision)
        self.warnings: list[embed_pb2.Warning] = []
        self.epoch = 1
        self.batching = embed_pb2.BatchingConfig(max_batch_tokens=4096, max_batch_items=32, coalesce=True)
        self.counters = embed_pb2.Counters()
        self.calls = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.fidelity_asked = 0
        self._answers: dict[tuple[int, int], embed_pb2.EmbedResponse] = {}
        self._started_s = time.monotonic()

    def _answer(self, count: int) -> embed_pb2.EmbedResponse:
        answer = self._answers.get((count, self.epoch))
        if answer is None:
            answer = self._answers[count, self.epoch] = embed_pb2.EmbedResponse(
                vectors=bytes(count * DIM * 4),
                count=count,
                dim=DIM,
                epoch=self.epoch,
                deployment=self.live,
                timings=embed_pb2.StageTimings(queue_ms=1.0, tokenize_ms=0.5, infer_ms=2.0, serialize_ms=0.25),
                token_counts=[10] * count,
                truncated=[False] * count,
            )
        return answer

    def _fault(self) -> tuple[int, str, float | None] | None:
        """Returns (code, message, retry after in s) of the fault for this call; None for a normal answer."""
        name, _, first = self.fault.partition(":")
        if first and self.calls > int(first):
            return None
        return {
            "unavailable": (code_pb2.UNAVAILABLE, "the instance was lost: retry", None),
            "exhausted": (code_pb2.RESOURCE_EXHAUSTED, "a request of this size never fits", None),
            "exhausted-retry": (code_pb2.RESOURCE_EXHAUSTED, "the queue is full", 0.05),
            "invalid": (code_pb2.INVALID_ARGUMENT, "over the limit of texts", None),
        }.get(name)

    async def _before(self, context: Any) -> None:
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.fault == "hang":
                await asyncio.Event().wait()
            if self.delay_s:
                async with self.one_at_a_time or nullcontext():
                    await asyncio.sleep(self.delay_s)
        finally:
            self.in_flight -= 1
        fault = self._fault()
        if fault is not None:
            code, message, retry_s = fault
            status = _status(code, message, retry_s)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            await context.abort(_GRPC_CODES[code], message)

    def _count(self, texts: int, pairs: int = 0) -> None:
        counters = self.counters
        counters.requests += 1
        counters.texts += texts
        counters.pairs += pairs
        counters.tokens += 10 * texts
        counters.padded_tokens += 12 * texts
        counters.batches += 1
        counters.batch_items += texts

    async def Embed(self, request: embed_pb2.EmbedRequest, context: Any) -> embed_pb2.EmbedResponse:
        await self._before(context)
        count = len(request.texts)
        self._count(count)
        return self._answer(count + 1 if self.fault == "bad-count" else count)

    async def Similarity(self, request: embed_pb2.SimilarityRequest, context: Any) -> embed_pb2.SimilarityResponse:
        await self._before(context)
        count = len(request.pairs)
        self._count(2 * count, count)
        return embed_pb2.SimilarityResponse(scores=[0.5] * count, epoch=self.epoch, deployment=self.live)

    async def EmbedStream(
        self, requests: AsyncIterator[embed_pb2.StreamRequest], context: Any
    ) -> AsyncIterator[embed_pb2.StreamResponse]:
        async for message in requests:
            self.calls += 1
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            fault = self._fault()
            if fault is not None:
                yield embed_pb2.StreamResponse(id=message.id, error=_status(*fault))
                continue
            count = len(message.request.texts)
            self._count(count)
            yield embed_pb2.StreamResponse(id=message.id, response=self._answer(count))

    async def GetStatus(self, request: embed_pb2.GetStatusRequest, context: Any) -> embed_pb2.Status:
        return embed_pb2.Status(
            epoch=self.epoch,
            requested=self.requested,
            effective=self.live,
            evidence="fake",
            warnings=self.warnings,
            state=embed_pb2.SERVING,
            limits=embed_pb2.Limits(max_texts_per_request=1024, max_text_bytes=65536),
            batching=self.batching,
            model=embed_pb2.ModelCard(id=MODEL, dim=DIM, max_tokens=256, pooling="mean", normalize=True),
            pid=os.getpid(),
            uptime_s=time.monotonic() - self._started_s,
            cores=2,
            cpu_model="Fake CPU",
        )

    async def GetCapabilities(self, request: embed_pb2.GetCapabilitiesRequest, context: Any) -> embed_pb2.Capabilities:
        cells = [
            embed_pb2.CapabilityCell(backend=backend, precision=precision, device="cpu", state=state, reason=reason)
            for backend, precision, state, reason in (
                ("torch", "fp32", embed_pb2.NATIVE, ""),
                ("onnx", "fp32", embed_pb2.NATIVE, ""),
                ("onnx", "int8", embed_pb2.FALLS_BACK, "int8 is not built yet: fp32 is used"),
                ("openvino", "int4", embed_pb2.UNAVAILABLE, "openvino is not installed"),
            )
        ]
        return embed_pb2.Capabilities(platform="linux-x86_64", cells=cells)

    async def Configure(self, request: embed_pb2.ConfigureRequest, context: Any) -> embed_pb2.BatchingConfig:
        for knob, value in request.ListFields():
            setattr(self.batching, knob.name, value)
        return self.batching

    async def Watch(self, request: embed_pb2.WatchRequest, context: Any) -> AsyncIterator[embed_pb2.Frame]:
        sequence = 0
        while True:
            sequence += 1
            if self.fault == "mute" and sequence > 1:
                await asyncio.Event().wait()
            histogram = embed_pb2.Histogram(hdr_v2=HdrHistogram(1, 3_600_000_000, 3).encode())
            yield embed_pb2.Frame(
                sequence=sequence,
                monotonic_s=time.monotonic(),
                epoch=self.epoch,
                counters=self.counters,
                queue=histogram,
                queued_items=3,
                queued_tokens=30,
                in_flight_requests=self.in_flight,
                idle_instances=1,
                rss_bytes=200 << 20,
                cpu_s=time.process_time(),
                state=embed_pb2.SERVING,
            )
            await asyncio.sleep((request.interval_ms or 1000) / 1000)

    async def Switch(self, request: embed_pb2.SwitchRequest, context: Any) -> AsyncIterator[embed_pb2.SwitchEvent]:
        target = embed_pb2.Deployment()
        target.CopyFrom(self.live)
        target.MergeFrom(request.target)
        if target.precision == "int4":
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, "int4 cannot run on openvino here: choose fp32, or install it"
            )
        begin_s = time.monotonic()

        def event(state: embed_pb2.SwitchState.ValueType, progress: float = 0.0) -> embed_pb2.SwitchEvent:
            return embed_pb2.SwitchEvent(
                state=state,
                progress=progress,
                message=f"step {embed_pb2.SwitchState.Name(state).lower()}",
                requested=target,
                effective=self.live,
                warnings=self.warnings,
                epoch=self.epoch,
                elapsed_s=time.monotonic() - begin_s,
            )

        for state in (embed_pb2.REQUESTED, embed_pb2.PREPARING, embed_pb2.LOADING, embed_pb2.VERIFYING):
            yield event(state, 0.5)
            await asyncio.sleep(self.switch_step_s)
        self.requested = target
        self.live = embed_pb2.Deployment()
        self.live.CopyFrom(target)
        self.warnings = []
        if target.precision == "int8":
            self.live.precision = "fp32"
            self.warnings = [embed_pb2.Warning(code="not_built", message="int8 is not built yet: fp32 is used")]
        self.epoch += 1
        for state in (embed_pb2.CUT_OVER, embed_pb2.DRAINING, embed_pb2.RELEASED):
            yield event(state, 1.0)

    async def MeasureFidelity(
        self, request: embed_pb2.MeasureFidelityRequest, context: Any
    ) -> AsyncIterator[embed_pb2.FidelityEvent]:
        self.fidelity_asked += 1
        yield embed_pb2.FidelityEvent(done=1, total=2, epoch=self.epoch, phase="measure")
        cosine = embed_pb2.CosineSummary(mean=0.999, p1=0.998, min=0.99)
        yield embed_pb2.FidelityEvent(
            done=2, total=2, epoch=self.epoch, n=12, cosine=cosine, batched=cosine, overlap_at_1=0.98,
            overlap_at_10=0.97, spearman=0.96, grade=embed_pb2.GREEN,
        )  # fmt: skip

    async def Drain(self, request: embed_pb2.DrainRequest, context: Any) -> embed_pb2.DrainResponse:
        return embed_pb2.DrainResponse()


_GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _status(code: int, message: str, retry_s: float | None = None) -> status_pb2.Status:
    details = []
    if retry_s is not None:
        packed = AnyMessage()
        packed.Pack(error_details_pb2.RetryInfo(retry_delay=Duration(nanos=int(retry_s * 1e9))))
        details = [packed]
    return status_pb2.Status(code=code, message=message, details=details)


async def start_server(engine: FakeEngine, port: int = 0) -> tuple[grpc.aio.Server, str]:
    """Starts a server; returns it and its address."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)])
    embed_pb2_grpc.add_EmbedderServicer_to_server(engine, server)
    embed_pb2_grpc.add_ControlServicer_to_server(engine, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, f"127.0.0.1:{bound}"


def _say(stream: Any, **event: object) -> None:
    print(json.dumps(event), file=stream, flush=True)


async def _serve(arguments: argparse.Namespace) -> int:
    if arguments.fail_start:
        _say(sys.stderr, event="phase", name="load", done=1, total=3, elapsed_s=0.1)
        _say(
            sys.stderr, event="error", code=arguments.fail_code, message="no backend 'nope'", fix="choose torch or onnx"
        )
        return int(arguments.fail_start)
    engine = FakeEngine(
        arguments.backend or "onnx", arguments.precision or "fp32", arguments.delay_ms / 1000, arguments.fault
    )
    engine.switch_step_s = arguments.switch_step_s
    for done, name in enumerate(("prepare", "load", "warm"), start=1):
        _say(sys.stderr, event="phase", name=name, done=done, total=3, elapsed_s=0.01 * done)
    server, address = await start_server(engine, arguments.port)
    print("a line that is not JSON, as a C library would write it", file=sys.stderr, flush=True)
    _say(
        sys.stdout,
        event="ready",
        address=address,
        requested={"backend": arguments.backend or "auto"},
        effective={"backend": engine.live.backend, "precision": engine.live.precision},
        warnings=[],
    )
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    while line := await stdin.readline():
        if line == b"detach\n":
            log_path = Path(arguments.log_folder) / f"engine-{os.getpid()}.log"
            log_path.touch()
            _say(sys.stdout, event="detached", log=str(log_path), stop=f"kill -TERM {os.getpid()}")
            await server.wait_for_termination()
    await server.stop(0.2)
    return 0


def main() -> None:
    """Serves until standard input ends, as `engine serve` does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="")
    parser.add_argument("--precision", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--fault", default="")
    parser.add_argument("--fail-start", type=int, default=0)
    parser.add_argument("--fail-code", default="failed")
    parser.add_argument("--switch-step-s", type=float, default=0.0)
    parser.add_argument("--log-folder", default=".")
    arguments, _ = parser.parse_known_args()
    sys.exit(asyncio.run(_serve(arguments)))


if __name__ == "__main__":
    main()
