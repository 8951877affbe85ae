"""The search for the highest load that holds: doubling, then bisection; two trials must agree on each limit. Pure.

`next` returns the level to try, and `report` takes the result. A level is a number: requests per second, or
concurrency.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

RESOLUTION = 1.05
"""The search ends when the bounds lie within this ratio."""
TRIALS_TO_AGREE = 2
"""A level is decided once so many trials agree."""


class Limit(StrEnum):
    """What a trial was limited by; NONE if the level held."""

    NONE = "none"
    SLO = "SLO"
    CLIENT = "client"
    ERRORS = "errors"
    UNSTABLE = "unstable"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first level and the range of levels. `whole`: levels are whole numbers."""

    start: float
    least: float
    most: float
    whole: bool = False


@dataclass(slots=True)
class Search:
    """One search. `best` and `binding` are final once `next` has returned None."""

    bounds: Bounds
    trials: dict[float, list[Limit]] = field(default_factory=dict)
    remeasured: dict[float, Limit] = field(default_factory=dict)
    remeasuring: bool = False
    """Whether `next` returned the best level to measure it again."""
    _asked: float | None = None

    def next(self) -> float | None:
        """Returns the level to try now; None when the search is over."""
        self._asked, self.remeasuring = self._level()
        return self._asked

    def report(self, limit: Limit) -> None:
        """Takes the result of the level that `next` returned. Raises RuntimeError if there is no such level."""
        if self._asked is None:
            raise RuntimeError("call report after next, and only if next returned a level")
        if self.remeasuring:
            self.remeasured[self._asked] = limit
        else:
            self.trials.setdefault(self._asked, []).append(limit)

    @property
    def best(self) -> float | None:
        """The highest level that has held so far. At the end, two trials agreed on it and it held when remeasured."""
        held = (one for one in self.trials if self._held(one) and one < self._lowest_failed)
        return max(held, default=None)

    @property
    def binding(self) -> Limit:
        """The limit of the lowest level that did not hold; NONE if every level held.

        If trials disagree equally often, a limit other than CLIENT is preferred.
        """
        failed = self._lowest_failed
        if math.isinf(failed):
            return Limit.NONE
        limits = [one for one in self.trials.get(failed, ()) if one is not Limit.NONE]
        if not limits:
            return self.remeasured[failed]
        return max(limits, key=lambda one: (limits.count(one), one is not Limit.CLIENT))

    @property
    def trials_left(self) -> int:
        """The number of trials that are left at most, if no further trials disagree; 0 once the search is over."""
        level, _ = self._level()
        if level is None:
            return 0
        low, high = self.best, self._lowest_failed
        between = TRIALS_TO_AGREE * self._bisections(self.bounds.most / 2, self.bounds.most)
        if math.isinf(high):  # on the way up, with one trial a level until one fails
            begin = low if low is not None else self.bounds.start
            doublings = math.ceil(math.log2(self.bounds.most / begin)) + (0 if low is not None else 1)
            return doublings + TRIALS_TO_AGREE + between + 1 - self._trials_of_failing(level)
        if low is None:
            halvings = math.ceil(math.log2(max(high / self.bounds.least, 1.0)))
            return TRIALS_TO_AGREE * halvings + between + 1 - self._trials_of_failing(level)
        steps = self._bisections(low, high) if low < high and not self._close(low, high) else 0
        agreed = 0 if self._decided(low) is not None else 1
        return TRIALS_TO_AGREE * steps + agreed + 1 - self._trials_of_failing(level)

    @property
    def may_go_down(self) -> bool:
        """Whether no level has held, and one may have failed: the next levels may be lower."""
        return self.best is None and any(one is not Limit.NONE for tried in self.trials.values() for one in tried)

    def _bisections(self, low: float, high: float) -> int:
        """The number of bisections until `low` and `high` are close."""
        distance = high - low if self.bounds.whole else math.log(high / low) / math.log(RESOLUTION)
        return math.ceil(math.log2(distance)) if distance > 1 else 0

    def _trials_of_failing(self, level: float) -> int:
        """The number of trials that the next level has had already, if it may fail."""
        results = self.trials.get(level, [])
        return len(results) if any(one is not Limit.NONE for one in results) else 0

    # ---- what is known of a level

    def _decided(self, level: float) -> Limit | None:
        """Returns the result that two trials agree on; None if the level is undecided. At most three are needed."""
        results = self.trials.get(level, [])
        held = sum(one is Limit.NONE for one in results)
        if held >= TRIALS_TO_AGREE:
            return Limit.NONE
        failed = [one for one in results if one is not Limit.NONE]
        return failed[-1] if len(failed) >= TRIALS_TO_AGREE else None

    def _held(self, level: float) -> bool:
        """Whether the level has held. One trial is enough on the way up, because higher levels follow."""
        decided = self._decided(level)
        return decided is Limit.NONE or (decided is None and set(self.trials[level]) == {Limit.NONE})

    @property
    def _lowest_failed(self) -> float:
        again = [level for level, limit in self.remeasured.items() if limit is not Limit.NONE]
        decided = [level for level in self.trials if self._decided(level) not in (None, Limit.NONE)]
        return min((*again, *decided), default=math.inf)

    # ---- what comes next

    def _level(self) -> tuple[float | None, bool]:
        """Returns the next level, and whether it is the final measurement of the best level."""
        undecided = self._undecided()
        if undecided is not None:
            return undecided, False
        low, high = self.best, self._lowest_failed
        if low is None:
            down = self._rounded(self.bounds.start if math.isinf(high) else max(high / 2, self.bounds.least))
            return (down if down < high else None), False
        between = self._rounded(min(low * 2, self.bounds.most) if math.isinf(high) else math.sqrt(low * high))
        if low < between < high and not self._close(low, high):
            return between, False
        if self._decided(low) is None:
            return low, False
        return (None, False) if low in self.remeasured else (low, True)

    def _undecided(self) -> float | None:
        """Returns a level with a failed trial and no agreement yet."""
        for level, results in self.trials.items():
            if self._decided(level) is None and any(one is not Limit.NONE for one in results):
                return level
        return None

    def _close(self, low: float, high: float) -> bool:
        return high - low <= 1 if self.bounds.whole else high / low <= RESOLUTION

    def _rounded(self, level: float) -> float:
        return float(round(level)) if self.bounds.whole else float(f"{level:.3g}")
