"""Ratios that are measured in rounds, and their confidence intervals."""

import math
import random

import numpy as np
import pytest
from scipy import stats

from console.analysis.ratios import BOOTSTRAP_MIN_ROUNDS, Ratio, bca, paired_ratio


def test_ratios_are_paired_by_round_so_that_a_machine_that_changes_speed_changes_nothing() -> None:
    machine = [100.0, 300.0, 50.0, 900.0]
    found = paired_ratio([2.0 * speed for speed in machine], machine)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert found.verdict == "more"


def test_twice_as_fast_and_half_as_fast_cancel() -> None:
    found = paired_ratio([200.0, 50.0], [100.0, 100.0])
    assert found is not None
    assert found.value == pytest.approx(1.0)
    assert found.verdict == "undecided"


def test_below_ten_rounds_the_interval_is_students() -> None:
    logs = [0.5, 0.6, 0.8]
    found = paired_ratio([math.exp(one) for one in logs], [1.0, 1.0, 1.0])
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    margin = 4.302653 * math.sqrt(7 / 300) / math.sqrt(3)  # t(0.975, 2); the logs' variance is 7/300
    assert math.log(found.high) == pytest.approx(19 / 30 + margin, rel=1e-5)
    assert math.log(found.low) == pytest.approx(19 / 30 - margin, rel=1e-5)


def test_from_ten_rounds_the_interval_is_skewed_to_the_side_of_the_outlier() -> None:
    ours = [math.exp(one) for one in (0, 0.01, -0.01, 0.02, -0.02, 0, 0.01, -0.01, 0, 0.5)]
    found = paired_ratio(ours, [1.0] * BOOTSTRAP_MIN_ROUNDS)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert math.log(found.high / found.value) > 2 * math.log(found.value / found.low)


def test_the_same_rounds_always_give_the_same_interval() -> None:
    chance = random.Random(1)  # noqa: S311 - figures, no secret
    ours, base = [[chance.uniform(50, 150) for _ in range(12)] for _ in range(2)]
    assert paired_ratio(ours, base) == paired_ratio(ours, base)


def test_a_round_that_a_side_lacks_is_left_out() -> None:
    found = paired_ratio([100.0, None, 300.0], [50.0, 60.0, 150.0])
    assert found is not None
    assert found.value == pytest.approx(2.0)
    assert found.rounds == 2
    assert paired_ratio([None, 1.0], [1.0, None]) is None


def test_one_round_has_a_ratio_but_no_interval_and_decides_nothing() -> None:
    found = paired_ratio([30.0], [10.0])
    assert found is not None
    assert found.value == pytest.approx(3.0)
    assert (found.low, found.high, found.rounds) == (None, None, 1)
    assert Ratio(3.0, None, None, 1).verdict == "undecided"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.98, 1.02, "same"), (1.01, 1.2, "more"), (0.8, 0.99, "less"), (0.9, 1.1, "undecided"), (1.001, 1.02, "same")],
)
def test_same_only_when_the_whole_interval_lies_within_three_percent(low: float, high: float, verdict: str) -> None:
    assert Ratio(1.0, low, high, 6).verdict == verdict


@pytest.mark.parametrize("seed", range(3))
def test_the_bootstrap_agrees_with_scipys(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - figures, no secret
    values = [chance.gammavariate(1.5, 0.1) for _ in range(14)]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9999, method="BCa", rng=np.random.default_rng(1))
    low, high = bca(values)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)
