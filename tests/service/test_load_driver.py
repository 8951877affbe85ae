"""The load generator on a server that fails on demand: its requests, retries, counts, and its end."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from console.load.attempts import make_plan
from console.load.corpora import MAX_TEXT_BYTES, CorpusError
from console.load.driver import Driver
from console.load.protocol import (
    Change,
    Event,
    Interval,
    Ready,
    Refused,
    Start,
    Started,
    Stop,
    Stopped,
    Tick,
    decode_event,
    encode_command,
)
from console.model.load import LoadSpec
from tests.service.load_rig import Rig
from tests.support.patience import HANGS_AFTER_S


@pytest.mark.parametrize(
    "spec",
    [
        LoadSpec(batch=8, concurrency=3),
        LoadSpec(batch=8, concurrency=3, stream=True),
        LoadSpec(batch=8, concurrency=3, workload="pairs"),
    ],
    ids=["unary", "stream", "pairs"],
)
async def test_every_request_sent_is_counted_once_and_none_is_lost(rig: Rig, spec: LoadSpec) -> None:
    driver = await rig.load(spec)
    await rig.answered(50)
    await driver.stop()
    requests = rig.events.total(lambda interval: interval.answers.requests)
    texts = rig.events.total(lambda interval: interval.answers.texts)
    assert requests == rig.engine.calls == rig.engine.counters.requests
    assert texts == rig.engine.counters.texts == rig.events.stopped.texts
    assert rig.events.stopped.errors == {}
    assert rig.events.stopped.abandoned == 0


async def test_a_closed_loop_keeps_exactly_as_many_requests_in_flight_as_asked(rig: Rig) -> None:
    rig.engine.delay_s = 0.005
    driver = await rig.load(LoadSpec(batch=1, concurrency=7))
    await rig.answered(100)
    assert rig.engine.most_in_flight == 7
    await driver.stop()


async def test_everything_can_change_under_load_without_losing_a_request(rig: Rig) -> None:
    driver = await rig.load(LoadSpec(batch=4, concurrency=2))
    for spec in (
        LoadSpec(batch=16, concurrency=9),
        LoadSpec(batch=2, concurrency=1, corpus="mixed"),
        LoadSpec(batch=2, concurrency=5, stream=True, corpus="mixed"),
        LoadSpec(batch=3, concurrency=5, workload="pairs"),
        LoadSpec(batch=1, concurrency=3),
    ):
        await rig.answered(20)
        await driver.change(spec)
    await rig.answered(20)
    await driver.stop()
    assert rig.events.stopped.errors == {}
    assert rig.events.stopped.requests == rig.engine.counters.requests
    assert rig.events.stopped.texts == rig.engine.counters.texts


async def test_a_corpus_that_cannot_be_read_leaves_the_load_as_it_was(rig: Rig) -> None:
    driver = await rig.load(LoadSpec(batch=4, concurrency=2))
    with pytest.raises(CorpusError):
        await driver.change(LoadSpec(batch=4, concurrency=2, corpus="/nowhere"))
    await rig.answered(20)
    await driver.stop()
    assert rig.events.stopped.errors == {}


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("fault", ["unavailable:3", "exhausted-retry:3"])
async def test_what_may_pass_is_retried_and_every_retry_is_told(rig: Rig, fault: str, stream: bool) -> None:
    rig.engine.fault = fault
    driver = await rig.load(LoadSpec(batch=2, concurrency=1, stream=stream))
    await rig.answered(10)
    await driver.stop()
    assert rig.events.stopped.errors == {}
    assert rig.events.total(lambda interval: interval.retries) == 3
    assert rig.events.stopped.requests == rig.engine.calls - 3


async def test_a_retried_request_s_latency_runs_from_its_first_attempt(rig: Rig) -> None:
    rig.engine.fault = "exhausted-retry:2"  # each asks for 50 ms
    driver = await rig.load(LoadSpec(batch=1, concurrency=1))
    await rig.answered(3)
    await driver.stop()
    assert rig.events.total(lambda interval: interval.answers.latency_sum_us) >= 100_000


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("invalid", "INVALID_ARGUMENT"),
        ("exhausted", "RESOURCE_EXHAUSTED"),
        ("unavailable", "UNAVAILABLE"),
        ("bad-count", "BAD_REPLY"),
    ],
)
async def test_a_request_that_finally_fails_is_an_error_by_its_code_and_never_throughput(
    rig: Rig, fault: str, code: str
) -> None:
    rig.engine.fault = fault
    driver = await rig.load(LoadSpec(batch=2, concurrency=1))
    await rig.answered(6)
    await driver.stop()
    assert set(rig.events.stopped.errors) == {code}
    assert rig.events.stopped.requests == 0
    assert rig.events.total(lambda interval: interval.answers.texts) == 0
    assert any(code in interval.last_error for interval in rig.events.intervals)


async def test_intervals_follow_one_another_without_a_gap_and_ticks_come_between(rig: Rig) -> None:
    driver = await rig.load(LoadSpec(batch=1, concurrency=2))
    await rig.events.until(lambda: len(rig.events.intervals) == 2)
    await driver.stop()
    intervals = rig.events.intervals
    for earlier, later in pairwise(intervals):
        assert later.start_s == pytest.approx(earlier.end_s)
        assert later.index == earlier.index + 1
    assert intervals[1].end_s - intervals[0].start_s > 1.99, "two seconds of the grid, however late the first ended"
    assert intervals[0].cpu_cores > 0
    kinds = [type(event) for event in rig.events.all]
    assert Tick in kinds[: kinds.index(Interval)]


async def test_a_driver_that_was_kept_from_running_reports_the_second_that_it_missed_at_once(rig: Rig) -> None:
    now_s, ticks = 100.0, 0

    def emit(event: Event) -> None:
        nonlocal now_s, ticks
        if isinstance(event, Tick):
            ticks += 1
            now_s = 100.0 + 0.1 * ticks + (0.25 if ticks >= 9 else 0.0)  # the end of the first second passes unseen
        rig.events.emit(event)

    plan = await make_plan(LoadSpec(batch=1, concurrency=1), MAX_TEXT_BYTES)
    driver = Driver(rig.address, plan, emit, clock=lambda: now_s)
    driver.start()
    await rig.events.until(lambda: bool(rig.events.intervals))
    await driver.stop()
    kinds = [type(event) for event in rig.events.all]
    assert kinds[: kinds.index(Interval)].count(Tick) == 10, "nine in time, one for those that were missed"


class DriverChild:
    """`python -m console.load`, as a session starts it."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def next(self, kind: type[Event]) -> Event:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if isinstance(event := decode_event(line), kind):
                return event
        raise AssertionError(f"the load generator exited before {kind}")

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()


PATIENT = """
from console.load import __main__, attempts, driver
attempts.REQUEST_TIMEOUT_S = 1e6
driver.Driver.stop.__defaults__ = (1e6,)
__main__.main()
"""
"""A load generator whose stop waits for days for the requests in flight."""


@pytest.fixture(params=[("-m", "console.load")], ids=["driver"])
def child(request: pytest.FixtureRequest) -> Iterator[DriverChild]:
    made = DriverChild(*request.param)
    yield made
    made.process.kill()
    made.process.wait()
    for pipe in (made.process.stdin, made.process.stdout):
        if pipe is not None:
            pipe.close()


async def test_the_child_loads_changes_refuses_and_stops_as_told(rig: Rig, child: DriverChild, tmp_path: Path) -> None:
    assert await asyncio.to_thread(child.next, Ready) == Ready(child.process.pid)
    child.send(encode_command(Start(rig.address, LoadSpec(4, 2, corpus=str(tmp_path / "none")))))
    refused = await asyncio.to_thread(child.next, Refused)
    assert isinstance(refused, Refused)
    assert "no such file" in refused.message
    child.send(b"nonsense\n")
    await asyncio.to_thread(child.next, Refused)
    child.send(encode_command(Start(rig.address, LoadSpec(4, 2))))
    started = await asyncio.to_thread(child.next, Started)
    assert isinstance(started, Started)
    assert started.time_s <= time.monotonic()  # one clock for both processes
    child.send(encode_command(Change(LoadSpec(8, 4))))
    await asyncio.to_thread(child.next, Interval)
    child.send(encode_command(Stop()))
    stopped = await asyncio.to_thread(child.next, Stopped)
    assert isinstance(stopped, Stopped)
    assert stopped.errors == {}
    assert stopped.requests == rig.engine.counters.requests > 0


@pytest.mark.parametrize("child", [("-c", PATIENT)], ids=["patient"], indirect=True)
async def test_the_child_ends_with_its_lifeline_and_waits_for_nothing_even_if_the_engine_hangs(
    rig: Rig, child: DriverChild
) -> None:
    rig.engine.fault = "hang"
    child.send(encode_command(Start(rig.address, LoadSpec(4, 8))))
    await asyncio.to_thread(child.next, Started)
    child.send(encode_command(Stop()))
    child.close_stdin()
    assert await asyncio.to_thread(child.process.wait, HANGS_AFTER_S) == 0


def test_the_child_loads_no_runtime_no_screen_and_no_numpy() -> None:
    code = "import sys, console.load.__main__; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "torch", "onnxruntime", "openvino", "textual", "tokenizers"} & set(loaded)
