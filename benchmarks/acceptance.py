"""Acceptance checks at full size, with their figures: `python -m benchmarks.acceptance [CHECK...]`.

The test suite checks the same properties at a smaller size. All checks run the real model through a real server.
"""

import argparse
import asyncio
import itertools
import json
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from console.load.corpora import load_corpus
from engine.api import embed_pb2
from engine.api.client import EmbedClient, vectors_of
from tests.support.engine_process import EngineProcess
from tests.support.reference import reference_model, reference_vectors

VECTOR_TEXTS = 10_000
CALLERS = 64
SWITCHES = 20


def texts_of(corpus: str, count: int, seed: int) -> list[str]:
    """Returns `count` texts of a generated corpus; repeats them with a number in front if it has fewer."""
    texts = load_corpus(corpus, seed).texts
    return [texts[n % len(texts)] if n < len(texts) else f"{n} {texts[n % len(texts)]}" for n in range(count)]


async def vectors(engine: EngineProcess) -> dict[str, Any]:
    """Compares vectors with those of sentence-transformers: random texts, requests of 1-50 texts, many callers."""
    texts = texts_of("mixed", VECTOR_TEXTS, seed=7)
    chooser = random.Random(7)  # noqa: S311 - sizes of requests, no secret
    requests: list[tuple[int, int]] = []
    start = 0
    while start < len(texts):
        end = min(len(texts), start + chooser.randint(1, 50))
        requests.append((start, end))
        start = end
    turns = iter(requests)
    got = np.zeros((len(texts), 384), np.float32)
    async with EmbedClient(engine.address) as client:

        async def call() -> None:
            for first, last in turns:
                got[first:last] = await client.embed(texts[first:last], timeout_s=300)

        started_s = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(CALLERS)))
        took_s = time.perf_counter() - started_s
    cosines = np.sum(got * reference_vectors(texts), axis=1)
    return {
        "texts": len(texts), "requests": len(requests), "callers": CALLERS, "texts_per_s": round(len(texts) / took_s),
        "cosine_min": float(cosines.min()), "below_0.9999": int((cosines < 0.9999).sum()),
    }  # fmt: skip


async def switches(engine: EngineProcess) -> dict[str, Any]:
    """Switches torch <-> onnx under 16 concurrent requests: errors, mixed responses, memory at each last visit."""
    texts = texts_of("mixed", 400, seed=8)
    expected = reference_vectors(texts)
    turns = itertools.count()
    running = True
    backends: defaultdict[int, Counter[str]] = defaultdict(Counter)
    lowest = 1.0
    rss: defaultdict[str, list[int]] = defaultdict(list)
    async with EmbedClient(engine.address) as client:

        async def call() -> None:
            nonlocal lowest
            while running:
                first = next(turns) * 13 % 380
                chosen = slice(first, first + 1 + first % 20)
                response = await client.embedder.Embed(embed_pb2.EmbedRequest(texts=texts[chosen]), timeout=60)
                lowest = min(lowest, float(np.sum(vectors_of(response) * expected[chosen], axis=1).min()))
                backends[response.epoch][response.deployment.backend] += 1

        callers = [asyncio.create_task(call()) for _ in range(16)]
        for number in range(SWITCHES):
            backend = ("torch", "onnx")[number % 2]
            request = embed_pb2.SwitchRequest(target=embed_pb2.Deployment(backend=backend))
            async for _ in client.control.Switch(request):
                pass
            await asyncio.sleep(2.0)  # serve for a while before the next switch
            frame = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest())))
            rss[backend].append(frame.rss_bytes)
            print(f"switch {number + 1}/{SWITCHES} {backend} rss {frame.rss_bytes / 1e6:.0f} MB", file=sys.stderr)
        running = False
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        frame = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest())))
    return {
        "switches": SWITCHES,
        "requests": sum(sum(one.values()) for one in backends.values()),
        "failed": sum(isinstance(outcome, BaseException) for outcome in outcomes) + sum(frame.counters.errors.values()),
        "epochs_with_two_deployments": sum(len(one) > 1 for one in backends.values()),
        "cosine_min": lowest,
        "rss_mb": {name: [round(size / 1e6) for size in sizes] for name, sizes in rss.items()},
        "rss_last_over_second": {name: round(sizes[-1] / sizes[1], 3) for name, sizes in rss.items()},
        "os_threads": frame.threads,
    }


def run(*flags: str) -> dict[str, Any]:
    """Runs `embedconsole run … --json` and returns its result. Raises RuntimeError with its output if it fails."""
    command = [sys.executable, "-m", "console.cli", "run", "--backend", "onnx", "--precision", "fp32", *flags, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2):
        raise RuntimeError(f"exit {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def batching(rounds: int = 3) -> dict[str, Any]:
    """Compares requests of one text at concurrency 32 and 1, interleaved."""
    one, many, items = [], [], []
    for _ in range(rounds):
        one.append(run("--batch", "1", "--concurrency", "1", "--duration", "8s")["throughput"]["texts_per_s"])
        wide = run("--batch", "1", "--concurrency", "32", "--duration", "8s")
        many.append(wide["throughput"]["texts_per_s"])
        items.append(wide["server"]["mean_batch_items"])
    ratios = [b / a for a, b in zip(one, many, strict=True)]
    return {"texts_per_s_1x1": one, "texts_per_s_1x32": many, "mean_batch_items_1x32": items, "ratios": ratios}


def baseline(rounds: int = 3) -> dict[str, Any]:
    """Compares `run` at 32 x 4 with `encode` of sentence-transformers at batch 32, interleaved, on the same corpus."""
    texts = texts_of("short", 2048, seed=0)
    ours, theirs = [], []
    model = reference_model()
    model.encode(texts[:256], batch_size=32, show_progress_bar=False)
    for _ in range(rounds):
        theirs.append(_encode_rate(model, texts))
        ours.append(run("--batch", "32", "--concurrency", "4", "--duration", "10s")["throughput"]["texts_per_s"])
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"ours_texts_per_s": ours, "encode_texts_per_s": theirs, "ratios": ratios}


def _encode_rate(model: Any, texts: Sequence[str], at_least_s: float = 8.0) -> float:
    started_s = time.perf_counter()
    done = 0
    while (took_s := time.perf_counter() - started_s) < at_least_s:
        model.encode(texts, batch_size=32, show_progress_bar=False)
        done += len(texts)
    return done / took_s


def main() -> None:
    """Runs the named checks, by default all, and prints one JSON object per check."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ("vectors", "switches", "batching", "baseline")
    parser.add_argument("checks", nargs="*", choices=(*names, []), default=list(names))
    for name in parser.parse_args().checks or names:
        if name in ("vectors", "switches"):
            engine = EngineProcess("--backend", "onnx").wait_ready()
            try:
                result = asyncio.run({"vectors": vectors, "switches": switches}[name](engine))
            finally:
                engine.stop()
        else:
            result = {"batching": batching, "baseline": baseline}[name]()
        print(json.dumps({"check": name, **result}))


if __name__ == "__main__":
    main()
