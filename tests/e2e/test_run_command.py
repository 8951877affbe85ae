"""`embedconsole run` on the real engine and the real model, as a user or a script calls it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.measure.driver_ceiling import Ceiling, Ceilings
from console.model.load import LoadSpec
from tests.support.engine_process import EngineProcess
from tests.support.patience import HANGS_AFTER_S

RUN = (sys.executable, "-m", "console.cli", "run")
ONNX = ("--backend", "onnx", "--precision", "fp32")
GIVEN = ("--instances", "1", "--threads", "1")
"""A given plan, so that the engine does not tune at its start."""
LONG = ("--corpus", "long", "--batch", "1", "--concurrency", "1", "--duration", "2s")
"""One request at a time, so that a slow machine answers within the run."""
MEASURED = (0, 2)
"""Exit codes ok and unstable; a busy machine may be unstable. The metrics are there either way."""


def embedconsole_run(*flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*RUN, *flags], capture_output=True, text=True, check=False, timeout=HANGS_AFTER_S)


def measured(*flags: str) -> dict[str, Any]:
    done = embedconsole_run(*flags, "--json")
    assert done.returncode in MEASURED, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_run_measures_the_real_model_and_tells_everything_in_one_object() -> None:
    found = measured(*ONNX, *GIVEN, "--batch", "8", "--concurrency", "4", "--duration", "3s", "--warmup", "1s")
    assert found["effective"]["backend"] == "onnx"
    assert found["effective"]["precision"] == "fp32"
    assert found["throughput"]["texts_per_s"] > 0
    assert found["latency_ms"]["p50"] > 0
    assert found["server"]["mean_batch_items"] > 1
    assert found["server"]["rss_bytes"] > 0
    assert found["server"]["stages_ms"]["infer"] > 0
    assert 0 < found["client"]["cpu"] < 1
    assert found["errors"] == {}
    assert found["environment"]["model"]["dim"] == 384


def test_a_fallback_is_told_and_with_strict_refused_with_the_same_sentence() -> None:
    precision = ("--backend", "onnx", "--precision", "bf16")
    flags = (*precision, *GIVEN, "--batch", "2", "--duration", "1s", "--warmup", "0s")
    found = measured(*flags)
    assert found["requested"]["precision"] == "bf16"
    assert found["effective"]["precision"] == "fp32"
    sentence = found["warnings"][0]["message"]
    refused = embedconsole_run(*flags, "--strict")
    assert refused.returncode in (3, 5)
    assert sentence.partition(":")[0] in refused.stdout


@pytest.fixture(scope="module", autouse=True)
def known_ceilings(artifact_cache: Path) -> None:
    """Stores ceilings of the load generator for the loads of these tests, which would take seconds each to measure."""
    two = LoadSpec(batch=2, concurrency=2)
    several = [LoadSpec(batch, 4) for batch in (1, 2, 8)]
    for load in (LoadSpec(1, 1), two, replace(two, workload="pairs"), replace(two, stream=True), *several):
        Ceilings(artifact_cache).keep(load, Ceiling(3000.0, 300.0))


@pytest.fixture(scope="module")
def engine(artifact_cache: object) -> Iterator[EngineProcess]:
    """A running engine, for runs that connect to it."""
    running = EngineProcess(*ONNX)
    try:
        yield running.wait_ready()
    finally:
        running.stop()


@pytest.mark.parametrize(
    "flags", [("--workload", "pairs"), ("--stream",), LONG, ("--coalesce", "off")], ids=lambda f: f[0]
)
def test_every_kind_of_load_is_answered_by_an_engine_that_runs_already(
    engine: EngineProcess, flags: tuple[str, ...]
) -> None:
    short = ("--batch", "2", "--concurrency", "2", "--duration", "1s", "--warmup", "0s")
    found = measured("--connect", engine.address, *short, *flags)
    assert found["errors"] == {}
    assert found["latency_ms"]["n"] > 0
    assert found["workload"]["coalesce"] is (flags != ("--coalesce", "off"))


def test_an_open_loop_tells_how_late_it_sent_and_how_near_the_driver_was_to_its_ceiling(engine: EngineProcess) -> None:
    flags = ("--batch", "1", "--rate", "20", "--duration", "3s", "--warmup", "0s", "--json")
    done = embedconsole_run("--connect", engine.address, *flags)
    assert done.returncode in (*MEASURED, 4), done.stderr  # 4: a busy machine makes it send late
    found = json.loads(done.stdout)
    assert found["workload"]["loop"] == "open"
    assert found["workload"]["rate"] == 20.0
    assert found["errors"] == {}
    assert found["client"]["send_lag_ms"]["p50"] > 0
    assert found["client"]["dropped"] == 0
    assert 0 < found["client"]["ceiling"]["share"] < 1
    assert "at batch 1" in found["bottleneck"]["sentence"]


def test_a_run_sets_a_remote_engine_s_coalescing_back_as_it_was(engine: EngineProcess) -> None:
    short = ("--batch", "1", "--duration", "1s", "--warmup", "0s")
    measured("--connect", engine.address, "--coalesce", "off", *short)
    assert measured("--connect", engine.address, *short)["workload"]["coalesce"]


def test_the_human_form_names_texts_per_second_and_the_verdict(engine: EngineProcess) -> None:
    done = embedconsole_run("--connect", engine.address, "--batch", "2", "--duration", "1s", "--warmup", "0s")
    assert done.returncode in MEASURED
    assert "texts/s" in done.stdout
    assert "closed loop" in done.stdout
    assert "verdict" in done.stdout


def test_an_unknown_model_is_refused_with_the_next_step(tmp_path: Path) -> None:
    done = embedconsole_run("--model", str(tmp_path / "nothing"), "--duration", "1s")
    assert done.returncode in (3, 5)
    assert "Traceback" not in done.stdout
    assert "verdict     failed:" in done.stdout


def test_more_texts_in_a_request_than_the_engine_takes_is_a_usage_error(engine: EngineProcess) -> None:
    done = embedconsole_run("--connect", engine.address, "--batch", "100000", "--duration", "1s")
    assert done.returncode == 3
    assert "limit of" in done.stderr


async def test_a_run_killed_with_sigkill_leaves_no_process_of_ours_behind() -> None:
    run = await asyncio.to_thread(
        subprocess.Popen,
        [*RUN, *ONNX, *GIVEN, "--duration", "10m", "--warmup", "0s"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert run.stderr is not None
    while b"measuring" not in (await asyncio.to_thread(run.stderr.readline)):
        assert run.poll() is None
    children = psutil.Process(run.pid).children(recursive=True)
    assert len(children) >= 2
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    run.stderr.close()
    _, left = await asyncio.to_thread(psutil.wait_procs, children, HANGS_AFTER_S)
    assert left == []
