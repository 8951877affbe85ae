"""The closed loop: which responses count, and that it always ends."""

from dataclasses import replace

import pytest

from benchmarks.peers.line import Order
from benchmarks.peers.loop import LONGEST_S, P95_FLOOR, Window


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


ORDER = Order("short", batch=32, concurrency=1, warm_s=0.5, window_s=2.0)


def window(clock: Clock, callers: int = 1) -> Window:
    return Window(ORDER, callers, clock)


def answer(window: Window, clock: Clock, after_s: float) -> None:
    started_s = clock.now_s
    clock.now_s += after_s
    window.answered(32, started_s)


def test_responses_during_warm_up_are_not_throughput_but_count_for_cpu_time() -> None:
    clock = Clock()
    counted = window(clock)
    for after_s in (0.4, 0.2, 0.1, 0.1):
        answer(counted, clock, after_s)
    found = counted.measured()
    assert (found.requests, found.all_texts) == (3, 4 * 32)
    assert found.texts_per_s == pytest.approx(2 * 32 / 0.2)  # completed - 1 over last - first
    assert found.p50_ms == pytest.approx(100.0)


def test_a_window_is_over_after_its_time_and_two_responses_per_caller() -> None:
    clock = Clock()
    counted = window(clock)
    answer(counted, clock, 3.0)
    assert not counted.over
    answer(counted, clock, 3.0)
    answer(counted, clock, 3.0)
    assert counted.over


def test_a_window_without_a_minimum_of_responses_is_over_after_its_time() -> None:
    clock = Clock()
    counted = Window(replace(ORDER, answers_a_caller=0), callers=9500, clock=clock)
    answer(counted, clock, 2.4)
    assert not counted.over
    answer(counted, clock, 0.1)
    assert counted.over


def test_a_server_that_never_answers_does_not_keep_the_window_open() -> None:
    clock = Clock()
    counted = window(clock)
    counted.failed(TimeoutError("slow"))
    clock.now_s += ORDER.warm_s + ORDER.window_s + LONGEST_S
    assert counted.over
    found = counted.measured()
    assert (found.texts_per_s, found.p50_ms, found.errors) == (None, None, {"TimeoutError: slow": 1})


def test_no_p95_with_too_few_samples() -> None:
    clock = Clock()
    counted = window(clock)
    clock.now_s += ORDER.warm_s
    for _ in range(P95_FLOOR - 1):
        answer(counted, clock, 0.01)
    assert counted.measured().p95_ms is None
    answer(counted, clock, 0.01)
    assert counted.measured().p95_ms == pytest.approx(10.0)
    assert counted.measured(tells_latency=False).p95_ms is None
