"""The schedule of an open loop's requests, which depends on the seed only and not on the engine's responses.

The k-th arrival E_k of a unit-rate process ("operational time") is transformed by the expected number of arrivals
Λ(t) = ∫ rate: the k-th request is due at Λ⁻¹(E_k). One seed therefore gives the same process at any rate, including
ramps, and a change of rate continues the process instead of restarting it (Çinlar, Introduction to Stochastic
Processes, 1975, §4.7).
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, count, repeat

ARRIVALS = ("poisson", "constant")


@dataclass(frozen=True, slots=True)
class RateProfile:
    """Requests a second from `begin_s` on: a linear ramp from `from_rate` to `rate` within `ramp_s`, then `rate`."""

    begin_s: float
    rate: float
    from_rate: float = 0.0
    ramp_s: float = 0.0

    def rate_at(self, time_s: float) -> float:
        """Returns the requests a second at `time_s`, which must not be before `begin_s`."""
        passed_s = time_s - self.begin_s
        if passed_s >= self.ramp_s:
            return self.rate
        return self.from_rate + (self.rate - self.from_rate) * passed_s / self.ramp_s

    def expected(self, time_s: float) -> float:
        """Returns Λ, the expected number of requests from `begin_s` to `time_s`."""
        passed_s = max(time_s - self.begin_s, 0.0)
        ramped_s = min(passed_s, self.ramp_s)
        ramped = ramped_s * (self.from_rate + self.rate_at(self.begin_s + ramped_s)) / 2
        return ramped + self.rate * (passed_s - ramped_s)

    def time_of(self, arrivals: float) -> float:
        """Returns Λ⁻¹, the time at which `arrivals` requests are expected; infinite if the rate becomes 0 before."""
        on_ramp = self.ramp_s * (self.from_rate + self.rate) / 2
        if arrivals >= on_ramp:
            left = arrivals - on_ramp
            return self.begin_s + self.ramp_s + (left / self.rate if self.rate > 0 else math.inf)
        slope = (self.rate - self.from_rate) / self.ramp_s
        root = math.sqrt(max(self.from_rate**2 + 2 * slope * arrivals, 0.0))
        return self.begin_s + 2 * arrivals / (self.from_rate + root)  # numerically stable at slope 0


class Arrivals:
    """An endless sequence of due times. `kind`: poisson (exponential inter-arrival times) or constant (equal ones)."""

    def __init__(self, kind: str, seed: int, profile: RateProfile) -> None:
        self._units = _unit_process(kind, seed)
        self._profile = profile
        self._unit = next(self._units)
        self._begin_unit = 0.0
        self.next_s = profile.time_of(self._unit)
        """Due time of the next request."""

    def advance(self) -> None:
        """Advances `next_s` to the following arrival."""
        self._unit = next(self._units)
        self.next_s = self._profile.time_of(self._unit - self._begin_unit)

    def change(self, now_s: float, rate: float, ramp_s: float = 0.0) -> None:
        """Changes the rate from `now_s` on, with a ramp of `ramp_s` from the current rate. Keeps overdue arrivals."""
        if self.next_s < now_s:
            now_s = self.next_s
        self._begin_unit += self._profile.expected(now_s)
        self._profile = RateProfile(now_s, rate, self._profile.rate_at(now_s), ramp_s)
        self.next_s = self._profile.time_of(self._unit - self._begin_unit)


def _unit_process(kind: str, seed: int) -> Iterator[float]:
    if kind == "constant":
        return (float(number) for number in count(1))
    if kind == "poisson":
        generator = random.Random(f"arrivals:{seed}")  # noqa: S311 - a schedule, not a secret
        return accumulate(generator.expovariate(1.0) for _ in repeat(None))
    raise ValueError(f"arrival {kind!r}: choose {' or '.join(ARRIVALS)}")
