"""Start and end of an engine, and the reasons it reports when it cannot start."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from engine.api import embed_pb2
from engine.api.client import EmbedClient
from engine.backends.base import Cell
from engine.models.resolve import resolve_model
from tests.support.cpu_time import least_cpu_s
from tests.support.engine_process import EngineProcess
from tests.support.patience import HANGS_AFTER_S
from tests.support.prepared import prepare_here

ONE_THREAD = ("--backend", "onnx", "--precision", "fp32", "--instances", "1", "--threads", "1")
IN_HAND = 30
"""Texts of a request that takes one thread about a second, whatever the number of cores."""


def serve_and_fail(*flags: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", "serve", *flags], capture_output=True, text=True, timeout=HANGS_AFTER_S,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.stdout == "", "stdout carries data alone"
    return done.returncode, done.stderr


RUNTIME_ALONE = """
import sys, grpc, numpy, onnxruntime, tokenizers
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
onnxruntime.InferenceSession(sys.argv[1], options)
"""
START_LIMIT = 5.0
"""Limit relative to the cost of loading the model by the runtime alone; importing torch or exporting costs more."""


def prepared(backend: str) -> Path:
    """Prepares the artifact, which a first start would export."""
    return prepare_here(resolve_model(None), Cell(backend=backend, precision="fp32", recipe="plain", device="cpu")).path


def test_with_a_warm_cache_the_ready_line_costs_little_more_than_loading_the_model(
    start_engine: Callable[..., EngineProcess],
) -> None:
    artifact = prepared("onnx")
    engine = start_engine("--backend", "onnx", "--precision", "fp32", "--instances", "1", "--threads", "1").wait_ready()
    cost = psutil.Process(engine.process.pid).cpu_times()
    spent_s = cost.user + cost.system + cost.children_user + cost.children_system
    assert spent_s < START_LIMIT * least_cpu_s(RUNTIME_ALONE, str(artifact / "model.onnx"))
    assert engine.ready["event"] == "ready"
    assert engine.ready["address"].startswith("127.0.0.1:")
    phases = [event["name"] for event in engine.events_named("phase")]
    assert phases[0] == "starting"
    assert {"preparing", "loading", "verifying"} <= set(phases)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has mapped")
@pytest.mark.parametrize(("backend", "expected"), [("onnx", False), ("openvino", False), ("torch", True)])
def test_torch_is_loaded_to_serve_torch_alone(
    start_engine: Callable[..., EngineProcess], backend: str, expected: bool
) -> None:
    prepared(backend)
    engine = start_engine("--backend", backend, "--precision", "fp32").wait_ready()
    mapped = Path(f"/proc/{engine.process.pid}/maps").read_text()
    assert ("libtorch" in mapped) is expected


def test_a_port_in_use_is_said_with_the_next_step() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = serve_and_fail("--port", str(taken.getsockname()[1]))
    assert code == 5
    assert "in use" in said
    assert "--port" in said


@pytest.mark.parametrize(
    ("flags", "code", "expected"),
    [
        (["--backend", "tensorflow"], 3, "tensorflow"),
        (["--precision", "fp12"], 3, "fp12"),
        (["--port", "70000"], 3, "70000"),
        (["--instances", "many"], 3, "auto"),
        (["--port", "0", "--model", "/no/such/folder"], 5, "/no/such/folder"),
        (["--port", "0", "--precision", "bf16", "--strict"], 5, "strict"),
        (["--port", "0", "--device", "cuda:3"], 5, "cuda:3"),
        (["--config", "/no/such/file.toml"], 3, "/no/such/file.toml"),
    ],
    ids=["backend", "precision", "port", "instances", "model", "strict", "device", "config"],
)
def test_what_cannot_start_says_why_and_exits_with_the_contracts_code(
    flags: list[str], code: int, expected: str
) -> None:
    found, said = serve_and_fail(*flags)
    assert expected in said
    assert found == code


def test_a_config_file_gives_defaults_that_flags_override(
    start_engine: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    path = tmp_path / "engine.toml"
    path.write_text('backend = "onnx"\ninstances = 2\nmax-batch-items = 7\n')
    engine = start_engine("--config", str(path), "--instances", "1").wait_ready()
    assert engine.ready["requested"]["instances"] == 1
    assert engine.ready["requested"]["backend"] == "onnx"


async def request_in_hand(client: EmbedClient) -> "asyncio.Future[Any]":
    """Sends a request that takes one thread many passes; returns when the engine has started it."""
    answer = asyncio.ensure_future(client.embed(["word " * 200] * IN_HAND))
    async for frame in client.control.Watch(embed_pb2.WatchRequest(interval_ms=50)):
        if frame.in_flight_requests:
            break
    return answer


async def test_the_end_of_stdin_drains_what_is_in_hand_and_ends_the_engine(
    start_engine: Callable[..., EngineProcess],
) -> None:
    engine = start_engine(*ONE_THREAD).wait_ready()
    async with EmbedClient(engine.address) as client:
        slow = await request_in_hand(client)
        engine.close_stdin()
        assert (await slow).shape == (IN_HAND, 384)
    assert await asyncio.to_thread(engine.wait) == 0


async def test_drain_answers_what_is_in_hand_refuses_what_is_new_and_exits(
    start_engine: Callable[..., EngineProcess],
) -> None:
    engine = start_engine(*ONE_THREAD).wait_ready()
    async with EmbedClient(engine.address) as client:
        slow = await request_in_hand(client)
        drain = asyncio.ensure_future(client.control.Drain(embed_pb2.DrainRequest()))
        async for frame in client.control.Watch(embed_pb2.WatchRequest(interval_ms=50)):
            if frame.state == embed_pb2.DRAINING_TO_EXIT:
                break
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.embed(["too late"])
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert (await slow).shape == (IN_HAND, 384)
        assert (await drain).abandoned == 0
    assert await asyncio.to_thread(engine.wait) == 0


def test_a_termination_signal_ends_it_cleanly(start_engine: Callable[..., EngineProcess]) -> None:
    engine = start_engine("--backend", "onnx").wait_ready()
    engine.process.send_signal(signal.SIGTERM)
    assert engine.wait() == 0


async def test_a_detached_engine_outlives_its_parent_and_says_how_to_stop_it(
    start_engine: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    engine = start_engine("--backend", "onnx", environment={"XDG_STATE_HOME": str(tmp_path)}).wait_ready()
    stdin, stdout = engine.process.stdin, engine.process.stdout
    assert stdin is not None
    assert stdout is not None
    stdin.write("detach\n")
    stdin.flush()
    said = await asyncio.to_thread(stdout.readline)
    assert str(tmp_path) in said
    stdin.close()
    stdout.close()
    async with EmbedClient(engine.address) as client:
        assert (await client.embed(["alone now"])).shape == (1, 384)
    os.kill(engine.process.pid, signal.SIGTERM)
    assert await asyncio.to_thread(engine.wait) == 0


def test_an_engine_that_ends_leaves_no_process_behind(start_engine: Callable[..., EngineProcess]) -> None:
    engine = start_engine("--backend", "onnx").wait_ready()
    family = psutil.Process(engine.process.pid).children(recursive=True)
    engine.close_stdin()
    assert engine.wait() == 0
    assert not [child for child in family if child.is_running()]
