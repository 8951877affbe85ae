"""The load client of infinity: `python -m benchmarks.peers.client_http BASE_URL CORPORA`, in the tools' environment.

Texts are serialised once, as in the gRPC client. Vectors are requested as base64, which is cheaper for the server than
384 numbers as text, and are not decoded, which is cheaper for the client. Connections are kept open.
"""

import argparse
import asyncio
import base64
import json
from itertools import cycle
from pathlib import Path

import aiohttp
import orjson
import uvloop

from benchmarks.peers.line import INFINITY_MODEL, Measurement, Order, corpora_of, packed, serve
from benchmarks.peers.loop import Call, many_callers

HEADERS = {"content-type": "application/json"}
HEAD = f'{{"model":"{INFINITY_MODEL}","encoding_format":"base64","input":['.encode()
VECTOR_CHARACTERS = 4 * ((384 * 4 + 2) // 3)
TIMEOUT = aiohttp.ClientTimeout(total=120)


async def ask(session: aiohttp.ClientSession, url: str, pieces: list[bytes]) -> list[str]:
    """Returns the vectors of serialised texts, each as base64. Raises ValueError, or what aiohttp raises."""
    async with session.post(url, data=b"".join((HEAD, b",".join(pieces), b"]}")), headers=HEADERS) as response:
        body = await response.read()
        if response.status != 200:
            raise ValueError(f"HTTP {response.status}: {body[:100]!r}")
    answers = [one["embedding"] for one in orjson.loads(body)["data"]]
    if len(answers) != len(pieces) or len(answers[0]) != VECTOR_CHARACTERS:
        raise ValueError(f"asked for {len(pieces)} vectors, got {len(answers)} of {len(answers[0])} characters")
    return answers


def session() -> aiohttp.ClientSession:
    """Returns a session with one persistent connection per caller."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=TIMEOUT)


async def load(url: str, texts: list[str], order: Order) -> Measurement:
    """Runs `order.concurrency` callers on one session."""
    pieces = cycle([json.dumps(text).encode() for text in texts])
    async with session() as connections:

        async def call(size: int) -> None:
            await ask(connections, url, [next(pieces) for _ in range(size)])

        calls: list[Call] = [call] * order.concurrency
        return await many_callers(calls, order)


async def vectors(url: str, texts: list[str]) -> str:
    """Returns the vectors of all texts, in one request."""
    async with session() as connections:
        answers = await ask(connections, url, [json.dumps(text).encode() for text in texts])
    return packed(memoryview(base64.b64decode(answer)).cast("f").tolist() for answer in answers)


def main() -> None:
    """Serves its parent until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("corpora", type=Path)
    asked = parser.parse_args()
    corpora, url = corpora_of(asked.corpora), f"{asked.base_url}/embeddings"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        serve(
            lambda texts: runner.run(vectors(url, texts)),
            lambda order: runner.run(load(url, corpora[order.corpus], order)),
        )


if __name__ == "__main__":
    main()
