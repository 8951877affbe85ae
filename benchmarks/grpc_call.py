"""Measures a gRPC call without an engine: `python benchmarks/grpc_call.py [--grpcio FOLDER …] [--rounds 3]`.

An echo server and its client run in separate processes. `--grpcio` names folders with other versions of the package
(`pip install --no-deps --target FOLDER grpcio==…`), which are measured in turn with the installed one.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from statistics import median

import grpc
import uvloop

PAYLOAD = b"x" * 128
ANSWER = b"x" * 1536
"""The size of a vector of 384 float32."""
METHOD = "/echo.Echo/Call"
CONCURRENCIES = (1, 32)
WINDOW_S = 2.0


async def serve() -> None:
    """Runs the server until stdin ends. Prints its port."""

    async def answer(_: bytes, __: object) -> bytes:
        return ANSWER

    server = grpc.aio.server()
    methods = {"Call": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", methods),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(0)


async def load(port: int) -> None:
    """Prints one line per concurrency."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(METHOD)
        for concurrency in CONCURRENCIES:
            took_s: list[float] = []
            until_s = time.perf_counter() + WINDOW_S

            async def caller(until_s: float = until_s, took_s: list[float] = took_s) -> None:
                while (started_s := time.perf_counter()) < until_s:
                    await call(PAYLOAD)
                    took_s.append(time.perf_counter() - started_s)

            cpu_s = time.process_time()
            await asyncio.gather(*(caller() for _ in range(concurrency)))
            cpu_us = (time.process_time() - cpu_s) / len(took_s) * 1e6
            print(
                f"grpcio {grpc.__version__}, {concurrency} in flight: {len(took_s) / WINDOW_S:,.0f} calls/s, "
                f"p50 {median(took_s) * 1e6:.0f} µs, client {cpu_us:.0f} µs of CPU a call",
                flush=True,
            )


def measure() -> None:
    """Measures one server with one load."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with server:
        if server.stdout is not None:
            uvloop.run(load(int(server.stdout.readline())))


def main() -> None:
    """Runs the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grpcio", nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        uvloop.run(serve())
    elif asked.once:
        measure()
    else:
        for _ in range(asked.rounds):
            for folder in ("", *asked.grpcio):
                environment = {**os.environ, **({"PYTHONPATH": folder} if folder else {})}
                subprocess.run([sys.executable, __file__, "--once"], env=environment, check=True)


if __name__ == "__main__":
    main()
