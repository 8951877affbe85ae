"""A closed loop written without the load driver's code, to hold the driver's figures against.

`python -m tests.independent_client ADDRESS CORPUS BATCH CONCURRENCY SECONDS` prints one JSON list of
[done_s on the monotonic clock, latency_ms].
"""

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path

import grpc

from engine.api import embed_pb2, embed_pb2_grpc


async def measure(address: str, texts: list[str], batch: int, concurrency: int, seconds: float) -> list[list[float]]:
    """Every answer within `seconds`."""
    endless = itertools.cycle(texts)
    answers: list[list[float]] = []
    async with grpc.aio.insecure_channel(address) as channel:
        embedder = embed_pb2_grpc.EmbedderStub(channel)
        end_s = time.monotonic() + seconds

        async def caller() -> None:
            while time.monotonic() < end_s:
                request = embed_pb2.EmbedRequest(texts=list(itertools.islice(endless, batch)))
                begin_s = time.monotonic()
                reply = await embedder.Embed(request)
                done_s = time.monotonic()
                assert reply.count == batch
                answers.append([done_s, (done_s - begin_s) * 1000])

        await asyncio.gather(*(caller() for _ in range(concurrency)))
    return answers


if __name__ == "__main__":
    where, corpus, *sizes, duration = sys.argv[1:]
    lines = Path(corpus).read_text("utf-8").splitlines()
    print(json.dumps(asyncio.run(measure(where, lines, int(sizes[0]), int(sizes[1]), float(duration)))))
