"""Measures whether the CPU time of a text grows with the queue length.

    python -m benchmarks.growth [--backend onnx] [--precision int8] [--rounds 6] [--seconds 3]

One engine, one load client, single-text unary requests: 32 in flight, 256, and as many as nearly fill the queue of the
engine. Each round measures each load once, in random order. Ratios of the engine's CPU to that at 32 are paired by
round, with 95 % intervals. The figures are differences of two frames of the engine, and of the client's CPU at the same
times. A round takes half a minute, because a long queue takes time to grow and to drain.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import grpc

from benchmarks.arguments import positive
from benchmarks.cells import prepare
from benchmarks.peers.line import Order
from benchmarks.peers.processes import Child, Failed, cpu_s
from benchmarks.peers.report import with_interval
from benchmarks.peers.servers import OURS, start_engine
from console.analysis.ratios import paired_ratio
from console.load.corpora import load_corpus
from engine.api import embed_pb2
from engine.api.client import EmbedClient
from engine.backends.base import Cell
from engine.host.machine import cores, cpu_model

CORPUS, SEED = "short", 4
CONCURRENCIES = (32, 256)
QUEUE_SHARE = 0.95
"""Share of the engine's queue limit; below 1, so that no request is refused."""
WARM_S = 0.5
QUEUE_GROWS_A_S = 900
"""Minimum number of texts before the window: the first requests of all callers must have arrived."""
FRAME_EVERY_MS = 250
LATE_S = 1.0
"""How much longer the load lasts than the window, because frames of a busy engine are late."""
WITHIN_S = 30.0

Frame = Any  # embed_pb2.Frame; the client's streams have no types


@dataclass(frozen=True, slots=True)
class Turn:
    """One load in one round. CPU is user and system time, in ms per text answered within the window."""

    texts_per_s: float
    engine_cpu_ms: float
    client_cpu_ms: float
    queued: tuple[int, ...]
    """Texts waiting for an instance, at each frame of the window."""
    texts_a_pass: float
    refused: int
    """Counted by the engine, from the first request to the last response."""
    failed: int
    """Requests that failed at the client, including refused ones."""


Turns = Mapping[int, Sequence[Turn]]
"""By requests in flight, one turn per round."""


def main() -> int:
    """Prints the markdown table. Returns 0, or 5 when the engine or the client failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="onnx")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--rounds", type=positive(int), default=6)
    parser.add_argument("--seconds", type=positive(float), default=3.0, help="of each load in each round")
    asked = parser.parse_args()
    cell = Cell(backend=asked.backend, precision=asked.precision, device="cpu")
    try:
        prepare(cell)
        turns = asyncio.run(_rounds(cell, asked.rounds, asked.seconds))
    except (RuntimeError, Failed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 5
    except grpc.aio.AioRpcError as error:
        print(f"error: the engine failed: {error.code().name} {error.details()}", file=sys.stderr)
        return 5
    print(
        f"{cell}, {CORPUS} texts, one a unary request, {asked.rounds} rounds of {asked.seconds:g} s, "
        f"{cores()} cores for engine and client, {cpu_model()}\n"
    )
    print(table(turns))
    return 0


async def _rounds(cell: Cell, rounds: int, window_s: float) -> Turns:
    """Runs the rounds. Raises Failed or AioRpcError after stopping all processes."""
    turns: defaultdict[int, list[Turn]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as place:
        corpora = Path(place) / "corpora.json"
        corpora.write_text(json.dumps({CORPUS: load_corpus(CORPUS, SEED).texts}), "utf-8")
        server = await asyncio.to_thread(start_engine, cell)
        try:
            client = await asyncio.to_thread(Child, OURS, "client_grpc", server.address, str(corpora))
            try:
                async with EmbedClient(server.address) as engine:
                    status = await engine.control.GetStatus(embed_pb2.GetStatusRequest())
                    loads = (*CONCURRENCIES, int(QUEUE_SHARE * status.limits.max_queued_items))
                    for number in range(rounds):
                        for callers in random.sample(loads, len(loads)):
                            print(f"round {number + 1} of {rounds}: {callers:,} in flight", file=sys.stderr, flush=True)
                            turns[callers].append(await _turn(callers, client, engine.control, window_s))
            finally:
                client.stop()
        finally:
            server.process.stop()
    return {callers: turns[callers] for callers in loads}


async def _turn(callers: int, client: Child, control: Any, window_s: float) -> Turn:
    """Runs one load until its last request is answered. Raises Failed or AioRpcError."""
    warm_s = WARM_S + callers / QUEUE_GROWS_A_S
    order = Order(CORPUS, 1, callers, warm_s, window_s + LATE_S, answers_a_caller=0)
    watch = embed_pb2.WatchRequest(interval_ms=FRAME_EVERY_MS)
    watched = aiter(control.Watch(watch, timeout=warm_s + window_s + WITHIN_S))
    idle = await anext(watched)
    loading = asyncio.create_task(asyncio.to_thread(client.load, order))
    frames: list[Frame] = []
    client_cpu_s: list[float] = []
    async for frame in watched:
        if frame.monotonic_s < idle.monotonic_s + warm_s:
            continue
        frames.append(frame)
        client_cpu_s.append(cpu_s(client.pid))
        if frame.monotonic_s >= frames[0].monotonic_s + window_s:
            break
    errors = (await loading).errors
    if len(frames) < 2:
        raise Failed(f"with {callers:,} requests in flight the engine sent too few frames: see why it ended")
    rest = await anext(aiter(control.Watch(watch, timeout=WITHIN_S)))
    first, last = frames[0].counters, frames[-1].counters
    texts = last.texts - first.texts
    if not texts:
        raise Failed(f"with {callers:,} requests in flight no text was answered in {window_s:g} s: try more --seconds")
    return Turn(
        texts_per_s=texts / (frames[-1].monotonic_s - frames[0].monotonic_s),
        engine_cpu_ms=1e3 * (frames[-1].cpu_s - frames[0].cpu_s) / texts,
        client_cpu_ms=1e3 * (client_cpu_s[-1] - client_cpu_s[0]) / texts,
        queued=tuple(frame.queued_items for frame in frames),
        texts_a_pass=(last.batch_items - first.batch_items) / max(1, last.batches - first.batches),
        refused=_refused(rest) - _refused(idle),
        failed=sum(errors.values()),
    )


def _refused(frame: Frame) -> int:
    return int(frame.counters.errors.get("RESOURCE_EXHAUSTED", 0))


def table(turns: Turns) -> str:
    """Returns medians over the rounds, and the engine's CPU relative to the first load in the same round."""
    base = next(iter(turns))
    heads = (
        "in flight", "texts/s", "engine CPU, ms/text", f"× at {base}", "client CPU, ms/text",
        "waiting: median (all)", "texts a pass", "refused", "failed",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---:" * len(heads) + "|"]
    for callers, own in turns.items():
        ratio = paired_ratio([one.engine_cpu_ms for one in own], [one.engine_cpu_ms for one in turns[base]])
        queued = [length for one in own for length in one.queued]
        lines.append(
            f"| {callers:,} | {median(one.texts_per_s for one in own):,.0f} "
            f"| {median(one.engine_cpu_ms for one in own):.3f} | {'1' if callers == base else with_interval(ratio)} "
            f"| {median(one.client_cpu_ms for one in own):.3f} "
            f"| {median(queued):,.0f} ({min(queued):,}–{max(queued):,}) "
            f"| {median(one.texts_a_pass for one in own):.1f} "
            f"| {sum(one.refused for one in own)} | {sum(one.failed for one in own)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
