"""The load generator's percentiles compared with those of a client that shares no code with it.

The requests go to the independent client, which forwards each to the engine and measures it too. Both sides therefore
measure the same requests: how fast the processor is, and what else it does, changes both alike.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from console.analysis.steady_state import percentiles
from console.load.protocol import Event, Interval, Start, Stop, Stopped, decode_event, encode_command
from console.model.load import P95_FLOOR, LoadSpec
from tests.support.engine_process import EngineProcess
from tests.support.patience import HANGS_AFTER_S

LOAD = LoadSpec(batch=1, concurrency=40)
"""About 50 requests a second: the engine and both clients are idle most of the time."""
ANSWERS = P95_FLOOR + 25
WITHIN = 0.10


@pytest.fixture
def engine(artifact_cache: object) -> Iterator[EngineProcess]:
    running = EngineProcess("--backend", "onnx", "--precision", "fp32")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


class Child:
    """A child process that reads and writes lines."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self._stdin, self._stdout = process, process.stdin, process.stdout

    def write_line(self, line: bytes) -> None:
        self._stdin.write(line)
        self._stdin.flush()

    def read_line(self) -> bytes:
        return self._stdout.readline()

    def close(self) -> bytes:
        """Closes the child's stdin; returns its remaining output."""
        return self.process.communicate(timeout=HANGS_AFTER_S)[0]


@contextmanager
def child(*command: str) -> Iterator[Child]:
    with subprocess.Popen([sys.executable, "-m", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Child(process)
        finally:
            process.kill()


def measured_twice(address: str) -> tuple[list[Interval], list[float]]:
    """Returns the load generator's intervals and the independent client's latencies (ms) of the same requests."""
    intervals: list[Interval] = []
    with child("tests.support.independent_client", address) as client, child("console.load") as driver:
        driver.write_line(encode_command(Start(json.loads(client.read_line()), LOAD)))
        event: Event | None = None
        while not isinstance(event, Stopped):
            event = decode_event(driver.read_line())
            if isinstance(event, Interval):
                intervals.append(event)
                answered = sum(interval.answers.requests for interval in intervals)
                if answered >= ANSWERS > answered - event.answers.requests:
                    driver.write_line(encode_command(Stop()))
        assert (event.errors, event.abandoned) == ({}, 0)
        driver.close()
        latencies_ms: list[float] = json.loads(client.close())
    return intervals, latencies_ms


def nearest_rank(latencies_ms: list[float], quantile: float) -> float:
    """Returns the percentile (ms) by the nearest-rank method."""
    return sorted(latencies_ms)[int(quantile * len(latencies_ms) + 0.5) - 1]


def test_an_independent_client_gets_the_same_median_and_the_same_p95(engine: EngineProcess) -> None:
    intervals, outside_ms = measured_twice(engine.address)
    driver = percentiles([interval.answers for interval in intervals], certified=True)
    assert driver.n == len(outside_ms) >= ANSWERS
    assert driver.p50_ms == pytest.approx(nearest_rank(outside_ms, 0.50), rel=WITHIN)
    assert driver.p95_ms == pytest.approx(nearest_rank(outside_ms, 0.95), rel=WITHIN)
