"""The search for the highest load that holds: doubling, then bisection, each limit agreed on by two trials. Pure.

`next` says what to try, `tell` takes what came of it. Nothing here knows what a load is: levels are requests a second,
or callers.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

CLOSE = 1.05
"""Levels that lie within this ratio are not told apart."""
AGREEING = 2


class Limit(StrEnum):
    """What a trial ran into."""

    NONE = "none"
    SLO = "SLO"
    CLIENT = "client"
    ERRORS = "errors"
    UNSTABLE = "unstable"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where levels may lie. `whole`: they are whole numbers."""

    start: float
    least: float
    most: float
    whole: bool = False


@dataclass(slots=True)
class Search:
    """One search. `best` and `binding` are known when `next` returns None."""

    bounds: Bounds
    trials: dict[float, list[Limit]] = field(default_factory=dict)
    remeasured: dict[float, Limit] = field(default_factory=dict)
    remeasuring: bool = False
    """Whether what `next` asked for is the winner, measured again."""
    _asked: float | None = None

    def next(self) -> float | None:
        """The level to try now; None when the search is over."""
        self._asked, self.remeasuring = self._level()
        return self._asked

    def tell(self, limit: Limit) -> None:
        """What came of the level that `next` asked for."""
        if self._asked is None:
            raise RuntimeError("tell follows next, and the search was not over")
        if self.remeasuring:
            self.remeasured[self._asked] = limit
        else:
            self.trials.setdefault(self._asked, []).append(limit)

    @property
    def best(self) -> float | None:
        """The highest level that has held so far; at the end it was agreed on, and held when it was measured again."""
        held = (one for one in self.trials if self._held(one) and one < self._lowest_failed)
        return max(held, default=None)

    @property
    def binding(self) -> Limit:
        """What the lowest level that did not hold ran into; NONE where every level held.

        Of trials that disagree the one that blames the engine: the client is the limit only where nothing else is.
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
        """At most so many more, as far as can be seen."""
        low, high = self.best, self._lowest_failed
        if math.isinf(high) or low is None:
            return AGREEING * 4 + 1
        steps = math.log2(max(math.log(high / low) / math.log(CLOSE), 1.0)) if high > low else 0.0
        return AGREEING * math.ceil(steps) + (0 if self.remeasured.get(low) else 1)

    # ---- what is known of a level

    def _decided(self, level: float) -> Limit | None:
        """Two agreeing trials decide; of three the majority is two."""
        told = self.trials.get(level, [])
        held = sum(one is Limit.NONE for one in told)
        if held >= AGREEING:
            return Limit.NONE
        failed = [one for one in told if one is not Limit.NONE]
        return failed[-1] if len(failed) >= AGREEING else None

    def _held(self, level: float) -> bool:
        """On the way up one trial that held is enough: the levels above it are still to come."""
        decided = self._decided(level)
        return decided is Limit.NONE or (decided is None and set(self.trials[level]) == {Limit.NONE})

    @property
    def _lowest_failed(self) -> float:
        again = [level for level, limit in self.remeasured.items() if limit is not Limit.NONE]
        decided = [level for level in self.trials if self._decided(level) not in (None, Limit.NONE)]
        return min((*again, *decided), default=math.inf)

    # ---- what comes next

    def _level(self) -> tuple[float | None, bool]:
        """The level, and whether it is the winner's last measurement."""
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
        """A level with a trial that failed, and no agreement yet."""
        for level, told in self.trials.items():
            if self._decided(level) is None and any(one is not Limit.NONE for one in told):
                return level
        return None

    def _close(self, low: float, high: float) -> bool:
        return high - low <= 1 if self.bounds.whole else high / low <= CLOSE

    def _rounded(self, level: float) -> float:
        return float(round(level)) if self.bounds.whole else float(f"{level:.3g}")
