"""Starts servers: that of infinity, this engine, or a child that needs no server."""

import json
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cells import flags
from benchmarks.peers.contenders import Contender
from benchmarks.peers.environments import HOME, python_of
from benchmarks.peers.line import INFINITY_MODEL
from benchmarks.peers.processes import START_WITHIN_S, Child, Failed, Process
from engine.backends.base import Cell

POLL_S = 0.05
OURS = Path(sys.executable)


@dataclass(frozen=True, slots=True)
class Plan:
    """The serving plan of an engine for its cell; the backend without a server uses the same."""

    instances: int
    threads: int


@dataclass(frozen=True, slots=True)
class Bench:
    """The input of every round: texts, the model folder of infinity, the plans of the cells."""

    corpora: Path
    model_folder: Path
    plans: Mapping[str, Plan]


@dataclass(frozen=True, slots=True)
class Server:
    """A server process. `inside`: it is its own client."""

    process: Process
    address: str
    ready_after_s: float
    inside: Child | None = None


def start_server(one: Contender, bench: Bench) -> Server:
    """Starts a server and waits until it is ready. Raises Failed after stopping it."""
    if one.kind == "ours" and one.cell is not None:
        return start_engine(one.cell)
    if one.kind == "infinity":
        return _start_infinity(one, bench)
    if one.kind == "encode":
        child = Child(python_of(one.environment), "inside_encode", str(bench.corpora))
    else:
        plan = bench.plans[one.what]
        cell = json.dumps(asdict(one.cell)) if one.cell else ""
        numbers = (str(plan.instances), str(plan.threads))
        child = Child(OURS, "inside_raw", str(bench.corpora), cell, *numbers)
    return Server(child, "", child.ready_after_s, child)


def start_client(one: Contender, server: Server, bench: Bench) -> Child:
    """Starts the load client of a contender. Raises Failed."""
    if server.inside is not None:
        return server.inside
    if one.kind == "infinity":
        return Child(python_of("tools"), "client_http", server.address, str(bench.corpora))
    streamed = ("--stream",) if one.streamed else ()
    return Child(OURS, "client_grpc", server.address, str(bench.corpora), *streamed)


def plan_of(cell: Cell) -> Plan:
    """Returns the plan that an engine uses for this cell on this machine. Raises Failed."""
    process, ready = _engine(cell)
    process.stop()
    return Plan(ready["effective"]["instances"], ready["effective"]["threads"])


def start_engine(cell: Cell) -> Server:
    """Starts `engine serve` on a free port of the loopback interface. Raises Failed."""
    process, ready = _engine(cell)
    return Server(process, str(ready["address"]), time.monotonic() - process.started_s)


def _engine(cell: Cell) -> tuple[Process, dict[str, Any]]:
    command = [str(OURS), "-m", "engine.cli", "serve", "--port", "0", "--lifeline", "stdin", "--strict", *flags(cell)]
    process = Process(command)
    try:
        return process, process.read_line(START_WITHIN_S)
    except BaseException:
        process.stop()
        raise


def _start_infinity(one: Contender, bench: Bench) -> Server:
    """Starts infinity with defaults except for two options.

    The disk cache of vectors is off, because texts repeat. The pooling is given, because the ONNX engine detects it
    wrongly.

    It runs in the folder of the model, because its ONNX engine finds the graph only with the path `.`.
    """
    port = _free_port()
    command = [
        str(python_of(one.environment)), "-m", "benchmarks.peers.infinity_server", "v2",
        "--model-id", ".", "--served-model-name", INFINITY_MODEL, "--device", "cpu",
        "--engine", {"torch": "torch", "onnx": "optimum"}[one.what], "--no-vector-disk-cache",
        "--pooling-method", "mean",
        "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning",
    ]  # fmt: skip
    extra = {"DO_NOT_TRACK": "1", "HF_HOME": str(HOME / "hub")}
    process = Process(command, cwd=bench.model_folder, extra=extra)
    process.drain_stdout()
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_healthy(process, f"{address}/health")
    except BaseException:
        process.stop()
        raise
    return Server(process, address, time.monotonic() - process.started_s)


def _wait_healthy(process: Process, url: str) -> None:
    while time.monotonic() - process.started_s < START_WITHIN_S:
        process.check_alive()
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - a loopback address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_S)
    raise Failed(f"not ready within {START_WITHIN_S:.0f} s: {process.stderr_tail()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
