"""The statistical rules for throughput, percentiles and stability."""

import math
import random
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, median

import pytest

from console.analysis.ratios import unpaired_ratio
from console.analysis.steady_state import (
    Rates,
    judge_p95,
    judge_throughput,
    mean_margin,
    percentile_change,
    percentiles,
    rates,
    t_quantile,
    throughput_change,
    verdict,
    windows,
)
from console.load.protocol import Answers, Interval
from console.model.load import P95_FLOOR, P99_FLOOR
from console.model.switch import Change
from tests.unit.console.support.intervals import answers, second


def test_throughput_is_completions_less_one_over_the_time_between_first_and_last() -> None:
    found = rates([second(0, 100, texts_each=4), second(1, 100, texts_each=4)])
    assert found is not None
    assert found.requests_per_s == pytest.approx(199 / 1.99)
    assert found.texts_per_s == pytest.approx(4 * 199 / 1.99)


def test_one_burst_in_a_long_silence_is_no_rate() -> None:
    """Four callers of a very slow cell are answered in the same moment: 4 answers in 10 ms are not 400 a second."""
    burst = replace(second(3, 4), first_completion_s=3.50, last_completion_s=3.51)
    assert (
        rates([second(index, 0) for index in range(3)] + [burst] + [second(index, 0) for index in range(4, 20)]) is None
    )


def test_failed_requests_are_never_throughput() -> None:
    clean, with_errors = rates([second(0)]), rates([second(0, errors={"INTERNAL": 1000})])
    assert clean == with_errors
    assert rates([second(0, requests=0, errors={"INTERNAL": 1000})]) is None


@pytest.mark.parametrize(("n", "p95", "p99"), [(P95_FLOOR - 1, False, False), (P95_FLOOR, True, False)])
def test_no_p95_below_130_samples(n: int, p95: bool, p99: bool) -> None:
    found = percentiles([answers([5.0] * n)], certified=True)
    assert (found.p95_ms is not None, found.p99_ms is not None) == (p95, p99)
    assert found.n == n
    assert found.max_ms is not None
    assert percentiles([answers([5.0] * n)], certified=False).p99_ms is not None


def test_no_p99_below_662_samples() -> None:
    assert percentiles([answers([5.0] * (P99_FLOOR - 1))], certified=True).p99_ms is None
    assert percentiles([answers([5.0] * P99_FLOOR)], certified=True).p99_ms is not None


def test_percentiles_come_from_the_merged_histogram_not_from_averages() -> None:
    fast, slow = answers([1.0] * 900), answers([100.0] * 100)
    found = percentiles([fast, slow], certified=True)
    assert found.p50_ms == pytest.approx(1.0, rel=0.01)
    assert found.p95_ms == pytest.approx(100.0, rel=0.01)  # an average of the two p95 would be 50.5
    assert found.mean_ms == pytest.approx(10.9, rel=0.01)


@pytest.mark.parametrize(
    ("degrees", "table"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (9, 2.262), (30, 2.042), (200, 1.972)]
)
def test_the_t_quantile_agrees_with_the_printed_table(degrees: int, table: float) -> None:
    assert t_quantile(degrees) == pytest.approx(table, rel=0.01)


def test_the_interval_of_a_mean_covers_it_95_times_in_100() -> None:
    rng = random.Random(1)  # noqa: S311 - noise, not a secret
    covered = 0
    for _ in range(1000):
        values = [rng.gauss(100, 5) for _ in range(8)]
        margin = mean_margin(values)
        assert margin is not None
        covered += abs(math.fsum(values) / 8 - 100) <= margin
    assert 930 <= covered <= 970


def test_intervals_of_ten_runs_in_a_row_mostly_overlap_and_are_narrow() -> None:
    """Speed wanders by 4 % from second to second and by 1.5 % from run to run."""
    rng = random.Random(4)  # noqa: S311 - noise, not a secret

    def counted(index: int, requests: int) -> Interval:
        counts = Answers(requests, requests)
        return Interval(
            index, float(index), 1.0, counts, first_completion_s=index + 0.001, last_completion_s=index + 1.0
        )

    def measured() -> Rates:
        speed = rng.gauss(1000, 15)
        counts = [int(speed * rng.gauss(1, 0.04)) for _ in range(10)]
        found = rates([counted(index, requests) for index, requests in enumerate(counts)])
        assert found is not None
        return found

    kept = 0
    for _ in range(50):
        runs = [measured() for _ in range(10)]
        overlaps = sum((a.low or 0) <= (b.high or 0) and (b.low or 0) <= (a.high or 0) for a, b in pairwise(runs))
        widths = [((run.high or 0) - (run.low or 0)) / 2 / run.texts_per_s for run in runs]
        kept += overlaps >= 8 and median(widths) < 0.06
    assert kept >= 42


def test_a_window_has_at_least_a_second_and_fifty_requests() -> None:
    parts = windows([second(i, requests=20) for i in range(7)])
    assert [len(part) for part in parts] == [3, 3]
    assert [len(part) for part in windows([second(i) for i in range(6)], 2.0)] == [2, 2, 2]


def test_steady_is_the_last_three_windows_within_ten_percent() -> None:
    steady = judge_throughput([[second(i, n)] for i, n in enumerate((10, 100, 105, 109))])
    assert steady.stable
    assert steady.spread == pytest.approx(1.09)
    shaky = judge_throughput([[second(i, n)] for i, n in enumerate((100, 105, 111))])
    assert not shaky.stable
    assert "beyond 1.10" in shaky.reason
    barely = judge_throughput([[second(i, n)] for i, n in enumerate((1000, 1050, 1103))])
    assert "max/min is 1.1030, beyond 1.10" in barely.reason


def test_too_few_windows_are_unstable_with_the_reason_not_a_guess() -> None:
    assert "too short to judge: 2 of 3" in judge_throughput([[second(0)], [second(1)]]).reason


def test_each_figure_has_its_own_verdict() -> None:
    parts = [[second(i, 100)] for i in range(3)]
    assert judge_throughput(parts).stable
    judged = judge_p95(parts)
    assert not judged.stable
    assert "too few requests to judge p95: 100" in judged.reason
    assert judge_p95([[second(i, 200)] for i in range(3)]).stable


def test_a_change_of_noise_is_undecided_a_large_one_is_named_and_a_small_one_is_the_same() -> None:
    rng = random.Random(2)  # noqa: S311 - noise, not a secret

    def seconds(mean: float, spread: float, n: int = 10) -> list[float]:
        return [rng.gauss(mean, spread) for _ in range(n)]

    faster = throughput_change(seconds(100, 2), seconds(120, 2))
    assert faster.relative == pytest.approx(0.2, abs=0.03)
    assert faster.margin is not None
    assert 0.01 < faster.margin < 0.05
    assert verdict(faster) == "faster"
    assert verdict(throughput_change(seconds(120, 2), seconds(100, 2))) == "slower"
    assert verdict(throughput_change(seconds(100, 1), seconds(100, 1))) == "same"
    assert verdict(throughput_change(seconds(100, 20), seconds(101, 20))) == "undecided"
    assert verdict(Change(100, 110, 0.1, None)) == "undecided"


@pytest.mark.parametrize(
    ("before", "after"),
    [([100.0, 100.0, 900.0], [355.0, 350.0, 360.0]), ([384.0, 2.0, 700.0, 500.0], [360.0, 355.0, 350.0])],
    ids=["one fast second", "one slow second"],
)
def test_the_change_is_that_of_the_two_figures_beside_it(before: list[float], after: list[float]) -> None:
    change = throughput_change(before, after)
    assert change.relative == pytest.approx(change.after / change.before - 1)
    ratio = unpaired_ratio(after, before)
    assert ratio is not None
    assert ratio.value == pytest.approx(fmean(after) / fmean(before))


def test_the_interval_of_a_change_holds_the_truth_nineteen_times_in_twenty() -> None:
    rng = random.Random(5)  # noqa: S311 - noise, not a secret
    held, trials = 0, 2000
    for _ in range(trials):
        change = throughput_change([rng.gauss(100, 8) for _ in range(10)], [rng.gauss(120, 15) for _ in range(10)])
        assert change.relative is not None
        assert change.margin is not None
        held += abs(change.relative - 0.2) <= change.margin
    assert 0.93 <= held / trials <= 0.97


def test_a_percentile_changes_with_a_margin_from_order_statistics_and_only_above_its_floor() -> None:
    rng = random.Random(3)  # noqa: S311 - noise, not a secret
    before = answers([rng.lognormvariate(2, 0.3) for _ in range(2000)])
    after = answers([0.8 * rng.lognormvariate(2, 0.3) for _ in range(2000)])
    change = percentile_change([before], [after], 95, P95_FLOOR)
    assert change is not None
    assert change.relative is not None
    assert change.margin is not None
    assert change.relative == pytest.approx(-0.2, abs=2 * change.margin)
    assert 0.005 < change.margin < 0.1
    assert percentile_change([before], [answers([5.0] * 100)], 95, P95_FLOOR) is None
