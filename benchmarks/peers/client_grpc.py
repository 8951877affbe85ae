"""The load client of this engine: `python -m benchmarks.peers.client_grpc ADDRESS CORPORA [--stream]`.

It uses the transports of the console and pre-serialised requests, in its own process; with `--stream` one stream per
caller.
"""

import argparse
import asyncio
from pathlib import Path

import grpc
import uvloop

from benchmarks.peers.line import Measurement, Order, corpora_of, packed, serve
from benchmarks.peers.loop import Call, many_callers
from console.load.calls import CHANNEL_OPTIONS, Requests, Stream, Unary
from engine.api.client import EmbedClient

TIMEOUT_S = 120.0


async def load(address: str, texts: list[str], order: Order, *, stream: bool) -> Measurement:
    """Runs `order.concurrency` callers on one channel."""
    requests = Requests(texts, "texts")
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        transports = [Stream(channel) if stream else Unary(channel, False) for _ in range(order.concurrency)]

        def caller(transport: Stream | Unary) -> Call:
            async def call(size: int) -> None:
                await transport.call(requests.take(size), size, TIMEOUT_S)

            return call

        try:
            return await many_callers([caller(transport) for transport in transports], order)
        finally:
            for transport in transports:
                transport.close()


async def vectors(address: str, texts: list[str]) -> str:
    """Returns the vectors of all texts, in one request of the public client."""
    async with EmbedClient(address) as client:
        return packed((await client.embed(texts, timeout_s=TIMEOUT_S)).tolist())


def main() -> None:
    """Serves its parent until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--stream", action="store_true")
    asked = parser.parse_args()
    corpora = corpora_of(asked.corpora)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # grpc.aio supports one event loop per process
        serve(
            lambda texts: runner.run(vectors(asked.address, texts)),
            lambda order: runner.run(
                load(order.address or asked.address, corpora[order.corpus], order, stream=asked.stream)
            ),
        )


if __name__ == "__main__":
    main()
