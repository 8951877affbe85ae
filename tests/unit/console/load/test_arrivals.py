"""The schedule of an open loop: it depends on the seed only and has the requested rate."""

import math
from itertools import pairwise
from statistics import fmean, stdev

import pytest

from console.load.arrivals import Arrivals, RateProfile


def due(arrivals: Arrivals, count: int) -> list[float]:
    times = []
    for _ in range(count):
        times.append(arrivals.next_s)
        arrivals.advance()
    return times


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def test_constant_arrivals_are_equally_spaced() -> None:
    assert due(Arrivals("constant", 0, RateProfile(10.0, 50.0)), 4) == pytest.approx([10.02, 10.04, 10.06, 10.08])


def test_poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() -> None:
    found = gaps(due(Arrivals("poisson", 1, RateProfile(0.0, 200.0)), 20_000))
    assert fmean(found) == pytest.approx(1 / 200, rel=0.03)
    assert stdev(found) == pytest.approx(1 / 200, rel=0.03)


def test_one_seed_is_one_schedule_and_another_seed_another() -> None:
    profile = RateProfile(0.0, 100.0)
    assert due(Arrivals("poisson", 7, profile), 50) == due(Arrivals("poisson", 7, profile), 50)
    assert due(Arrivals("poisson", 7, profile), 50) != due(Arrivals("poisson", 8, profile), 50)


def test_another_rate_scales_the_time_of_the_same_process() -> None:
    slow = due(Arrivals("poisson", 3, RateProfile(0.0, 10.0)), 50)
    fast = due(Arrivals("poisson", 3, RateProfile(0.0, 100.0)), 50)
    assert fast == pytest.approx([time_s / 10 for time_s in slow])


def test_on_a_ramp_arrivals_grow_with_the_square_of_time_and_then_keep_the_rate() -> None:
    times = due(Arrivals("constant", 0, RateProfile(0.0, 100.0, ramp_s=10.0)), 1000)
    assert sum(time_s <= 5.0 for time_s in times) == 125
    assert sum(time_s <= 10.0 for time_s in times) == 500
    assert gaps(times)[-1] == pytest.approx(0.01)


@pytest.mark.parametrize(
    "profile",
    [RateProfile(3.0, 100.0, 20.0, 4.0), RateProfile(3.0, 20.0, 100.0, 4.0), RateProfile(3.0, 50.0, 50.0, 4.0)],
)
def test_the_time_of_an_arrival_is_the_inverse_of_the_expected_arrivals(profile: RateProfile) -> None:
    for arrivals in (0.5, 10.0, 100.0, 239.0, 241.0, 5000.0):
        assert profile.expected(profile.time_of(arrivals)) == pytest.approx(arrivals)
    assert profile.rate_at(100.0) == profile.rate
    assert profile.time_of(0.5) > profile.begin_s


def test_a_change_of_rate_continues_the_same_process_from_that_moment() -> None:
    arrivals = Arrivals("constant", 0, RateProfile(0.0, 10.0))
    due(arrivals, 10)  # up to 1.0 s; the next is due at 1.1 s
    arrivals.change(1.05, 100.0)
    assert arrivals.next_s == pytest.approx(1.055)  # half a gap was left, a tenth as long now
    assert gaps(due(arrivals, 5)) == pytest.approx([0.01] * 4)


def test_a_change_can_ramp_from_the_current_rate() -> None:
    arrivals = Arrivals("constant", 0, RateProfile(0.0, 100.0))
    while arrivals.next_s <= 1.0:
        arrivals.advance()
    arrivals.change(1.0, 300.0, ramp_s=2.0)
    times = due(arrivals, 1000)
    assert sum(time_s <= 3.0 + 1e-9 for time_s in times) == pytest.approx(400, abs=1)
    assert gaps(times)[-1] == pytest.approx(1 / 300)


def test_overdue_arrivals_stay_due() -> None:
    arrivals = Arrivals("constant", 0, RateProfile(0.0, 10.0))
    arrivals.change(5.0, 1.0)
    assert arrivals.next_s == pytest.approx(0.1)


def test_rate_zero_has_no_arrivals_and_an_unknown_kind_is_refused() -> None:
    assert RateProfile(0.0, 0.0).time_of(1.0) == math.inf
    with pytest.raises(ValueError, match="choose poisson or constant"):
        Arrivals("sometimes", 0, RateProfile(0.0, 1.0))
