"""The driver's percentiles against those of a client that shares no code with it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

import pytest

from console.experiments.statistics import percentiles
from console.frame import P95_FLOOR, LoadSpec
from console.load.corpora import load_corpus
from console.load.protocol import Interval, Start, Stop, Stopped, decode_event, encode_command
from tests.engine_process import EngineProcess

BATCH, CONCURRENCY, SECONDS = 1, 4, 4.0
ROUNDS = 3
"""Each begins anew, because callers of a closed loop fall into step and one side may get the better place in it."""
WITHIN = 0.10


@pytest.fixture
def engine(artifact_cache: object) -> Iterator[EngineProcess]:
    running = EngineProcess("--backend", "onnx", "--precision", "fp32")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


def measured_at_once(address: str, corpus: Path) -> tuple[list[Interval], list[float]]:
    """The driver's intervals and the independent client's latencies (ms) of the same seconds, beside each other."""
    load = LoadSpec(BATCH, CONCURRENCY, corpus=str(corpus))
    driver = subprocess.Popen([sys.executable, "-m", "console.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert driver.stdin is not None
    driver.stdin.write(encode_command(Start(address, load)))
    driver.stdin.flush()
    arguments = (address, str(corpus), str(BATCH), str(CONCURRENCY), str(SECONDS))
    client = subprocess.run(
        [sys.executable, "-m", "tests.independent_client", *arguments], capture_output=True, text=True, check=True
    )
    driver.stdin.write(encode_command(Stop()))
    driver.stdin.flush()
    assert driver.stdout is not None
    intervals = []
    for line in driver.stdout:
        event = decode_event(line)
        if isinstance(event, Stopped):
            break
        if isinstance(event, Interval):
            intervals.append(event)
    driver.communicate(timeout=10)
    answers: list[list[float]] = json.loads(client.stdout)
    begin_s, end_s = min(done_s for done_s, _ in answers), max(done_s for done_s, _ in answers)
    both = [interval for interval in intervals if interval.start_s >= begin_s and interval.end_s <= end_s]
    begin_s, end_s = both[0].start_s, both[-1].end_s
    return both, [latency_ms for done_s, latency_ms in answers if begin_s <= done_s <= end_s]


def test_an_independent_client_gets_the_same_median_and_the_same_p95(engine: EngineProcess, tmp_path: Path) -> None:
    corpus = tmp_path / "texts.txt"
    corpus.write_text("\n".join(load_corpus("short").texts), "utf-8")
    intervals: list[Interval] = []
    outside: list[float] = []
    for _ in range(ROUNDS):
        inside, latencies_ms = measured_at_once(engine.address, corpus)
        intervals += inside
        outside += latencies_ms
    driver = percentiles([interval.answers for interval in intervals], certified=True)
    assert len(outside) >= P95_FLOOR
    cuts = quantiles(outside, n=100)
    assert driver.n == pytest.approx(len(outside), rel=WITHIN)
    assert driver.p50_ms == pytest.approx(cuts[49], rel=WITHIN)
    assert driver.p95_ms == pytest.approx(cuts[94], rel=WITHIN)
