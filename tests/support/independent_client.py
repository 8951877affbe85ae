"""A client that shares no code with the load generator, to compare the load generator's measurements with.

`python -m tests.support.independent_client ADDRESS` prints its own address as one JSON line.
It forwards every Embed request that it receives to the engine at ADDRESS after a pause, and measures the time of both.
At the end of standard input it prints one JSON list of latencies in milliseconds.
"""

import asyncio
import json
import random
import sys
import time
from typing import Any

import grpc

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0
"""Long compared with a hop between two processes on a busy machine, and spread widely enough to have percentiles."""


class Passing(grpc.GenericRpcHandler):
    """Forwards requests as bytes. `latencies_ms` has one value for every answer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.latencies_ms: list[float] = []
        self._embed: Any = channel.unary_unary("/embed.v1.Embedder/Embed")
        self._generator = random.Random(7)  # noqa: S311 - pauses, not a secret

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of Embed. Nothing else is served."""
        embed = handler_call_details.method == "/embed.v1.Embedder/Embed"
        return grpc.unary_unary_rpc_method_handler(self._pass_on) if embed else None

    async def _pass_on(self, request: bytes, _context: object) -> bytes:
        begin_s = time.perf_counter()
        await asyncio.sleep(SHORTEST_PAUSE_S * (LONGEST_PAUSE_S / SHORTEST_PAUSE_S) ** self._generator.random())
        reply: bytes = await self._embed(request)
        self.latencies_ms.append((time.perf_counter() - begin_s) * 1000)
        return reply


async def measure(address: str) -> list[float]:
    """Latencies of every request until standard input ends."""
    async with grpc.aio.insecure_channel(address) as channel:
        passing = Passing(channel)
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((passing,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(json.dumps(f"127.0.0.1:{port}"), flush=True)
        stdin = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
        await stdin.read()
        await server.stop(0)
    return passing.latencies_ms


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1]))))
