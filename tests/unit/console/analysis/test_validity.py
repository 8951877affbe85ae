"""Measurements that do not describe the engine: a busy load generator, send lag, idle callers."""

from dataclasses import replace
from itertools import pairwise

import pytest

from console.analysis.steady_state import Judgement, blocks, completion_rates, judge_throughput, rates, windows
from console.analysis.validity import (
    Lag,
    check_littles_law,
    cpu_saturated,
    lag_saturated,
    required_duration_s,
    send_lag,
)
from console.load.protocol import Interval
from console.load.recorder import Recorder
from console.model.load import LoadSpec, Percentiles
from tests.unit.console.support.intervals import second


def lagging(index: int, lag_ms: float, requests: int = 100) -> Interval:
    recorder = Recorder(clock=lambda: float(index))
    for _ in range(requests):
        recorder.record_send_lag(lag_ms / 1000)
    return replace(second(index, requests), send_lag=recorder.cut().send_lag)


def test_the_driver_is_the_bottleneck_when_any_ten_seconds_are_over_nine_tenths_of_a_core() -> None:
    def run(*cpu_cores: float) -> list[Interval]:
        return [second(index, cpu_cores=cores) for index, cores in enumerate(cpu_cores)]

    assert cpu_saturated(run(*[0.2] * 5, *[0.95] * 10, *[0.2] * 5))
    assert not cpu_saturated(run(*[0.2] * 5, *[0.95] * 6, *[0.2] * 9))
    assert not cpu_saturated(run(*[0.89] * 20))
    assert cpu_saturated(run(*[0.95] * 3))  # shorter than ten seconds: all of it
    assert not cpu_saturated([])


@pytest.mark.parametrize(
    ("lag_ms", "p50_ms", "bound"),
    [
        (0.9, 5.0, False),  # within 1 ms
        (2.0, 100.0, False),  # within 5 % of the service
        (2.0, 20.0, True),
        (900.0, 1000.0, True),  # the service is what is left without the lag
    ],
)
def test_sending_late_is_the_drivers_fault_over_one_ms_and_five_percent_of_the_service(
    lag_ms: float, p50_ms: float, bound: bool
) -> None:
    lag = send_lag([lagging(0, lag_ms, 400), lagging(1, lag_ms, 400)])
    assert lag is not None
    assert lag.p99_ms == pytest.approx(lag_ms, rel=0.01)
    assert lag_saturated(lag, Percentiles(n=200, p50_ms=p50_ms)) is bound


def test_a_closed_loop_has_no_send_lag() -> None:
    assert send_lag([second(0)]) is None
    assert not lag_saturated(None, Percentiles(n=100, p50_ms=1.0))
    assert not lag_saturated(Lag(1000, 5.0, 7.0, 9.0), Percentiles())


@pytest.mark.parametrize(("n", "bound"), [(60, False), (200, False), (700, True)])
def test_a_few_requests_sent_late_are_no_p99(n: int, bound: bool) -> None:
    late = n // 50 + 1
    lag = send_lag([lagging(0, 50.0, late), lagging(1, 0.2, n - late)])
    assert lag is not None
    assert lag.p99_ms > 1
    assert lag_saturated(lag, Percentiles(n=n, p50_ms=10.0)) is bound


@pytest.mark.parametrize(("latency_ms", "holds"), [(40.0, True), (38.5, True), (41.5, True), (37.0, False)])
def test_littles_law_holds_within_five_percent_of_the_concurrency(latency_ms: float, holds: bool) -> None:
    intervals = [second(index, 100, latency_ms) for index in range(10)]
    judged = check_littles_law(intervals, LoadSpec(concurrency=4), 100.0, Percentiles(n=1000, mean_ms=latency_ms))
    assert judged.stable is holds
    assert judged.spread == pytest.approx(latency_ms / 40)
    if not holds:
        assert "callers were idle" in judged.reason


def test_a_deviation_that_the_ends_of_a_short_run_can_explain_is_allowed() -> None:
    few = [second(index, 12, 300.0) for index in range(10)]  # 120 requests, 4 in flight: 3 % more at the ends
    spec = LoadSpec(concurrency=4)
    assert check_littles_law(few, spec, 12.4, Percentiles(n=120, mean_ms=300.0)).stable
    assert not check_littles_law(few, spec, 12.0, Percentiles(n=120, mean_ms=270.0)).stable


def test_in_an_open_loop_a_backlog_that_grows_breaks_littles_law() -> None:
    intervals = [replace(second(index, 50), mean_in_flight=50.0 * (index + 0.5)) for index in range(10)]
    # answered at half the rate: the mean in flight is 250, the answered waited 2.5 s on average
    judged = check_littles_law(intervals, LoadSpec(rate=100.0), 50.0, Percentiles(n=500, mean_ms=2500.0))
    assert not judged.stable
    assert "a backlog grows: the engine does not keep up" in judged.reason


def test_arrivals_that_were_dropped_are_load_that_was_not_sent() -> None:
    def dropping(dropped: int) -> Judgement:
        intervals = [replace(second(i), mean_in_flight=1.0, arrivals=100 + dropped, dropped=dropped) for i in range(5)]
        return check_littles_law(intervals, LoadSpec(rate=120.0), 100.0, Percentiles(n=500, mean_ms=10.0))

    assert dropping(5).stable
    assert not dropping(6).stable
    assert "30 of 530 arrivals were dropped" in dropping(6).reason


def test_poisson_arrivals_do_not_make_an_engine_that_keeps_up_unsteady() -> None:
    parts = [[replace(second(i, n), arrivals=n)] for i, n in enumerate((80, 120, 100))]
    assert judge_throughput(parts).stable
    assert not judge_throughput([[second(i, n)] for i, n in enumerate((80, 120, 100))]).stable
    falling_behind = [[replace(second(i, n), arrivals=100)] for i, n in enumerate((100, 80, 60))]
    assert not judge_throughput(falling_behind).stable


@pytest.mark.parametrize(("requests_per_s", "needed_s"), [(14.0, 15), (1000.0, 3), (50.0, 6), (7.0, 27), (0.5, 375)])
def test_the_duration_that_would_do_holds_three_windows_even_a_fifth_slower(
    requests_per_s: float, needed_s: int
) -> None:
    assert required_duration_s(requests_per_s) == needed_s
    done = [int(requests_per_s * 0.81 * index) for index in range(needed_s + 1)]
    slower = [second(index, later - earlier) for index, (earlier, later) in enumerate(pairwise(done))]
    assert len(windows(slower, needed_s / 5 * 0.99)) >= 3


def test_throughput_is_counted_between_completions_so_that_a_batch_at_a_tick_does_not_move_it() -> None:
    def four_at_once(index: int, batches: int, last_s: float) -> Interval:
        made = second(index, 4 * batches)
        return replace(made, first_completion_s=float(index) + 0.1, last_completion_s=last_s)

    # a batch of 4 every 0.28 s falls now 3, now 4 times into a second
    parts = [[four_at_once(0, 4, 0.98)], [four_at_once(1, 3, 1.82)], [four_at_once(2, 4, 2.94)]]
    found = completion_rates(parts)
    assert found[1:] == pytest.approx([4 / 0.28, 4 / 0.28])


def test_an_empty_window_counts_as_nothing_and_does_not_slow_the_next() -> None:
    found = completion_rates([[second(0)], [second(1, requests=0)], [second(2)]])
    assert found == pytest.approx([100.0, 0.0, 100.0], rel=0.02)


@pytest.mark.parametrize(("seconds", "lengths"), [(10, [2] * 5), (3, [1] * 3), (12, [2, 3, 2, 3, 2]), (0, [])])
def test_blocks_are_consecutive_nearly_equal_and_leave_nothing_out(seconds: int, lengths: list[int]) -> None:
    parts = blocks([second(index) for index in range(seconds)])
    assert [len(part) for part in parts] == lengths
    assert [interval.index for part in parts for interval in part] == list(range(seconds))


def test_seconds_that_resemble_their_neighbours_do_not_make_the_interval_too_narrow() -> None:
    waves = [second(index, 100 if (index // 2) % 2 else 110) for index in range(20)]
    found = rates(waves)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.texts_per_s < found.high
    # a standstill between two halves of different speed is seen by blocks
    stepped = rates([second(index, 100 if index < 10 else 120) for index in range(20)])
    assert stepped is not None
    assert stepped.low is not None
    assert stepped.texts_per_s - stepped.low > 8
