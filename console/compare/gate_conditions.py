"""What a gate asks of a run, as people write it: `p95<120ms`, `texts_per_s>-5%@main`. Errors point at their place."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

FIGURES: Mapping[str, str] = {
    "texts_per_s": "", "pairs_per_s": "", "requests_per_s": "",
    "mean": "ms", "p50": "ms", "p90": "ms", "p95": "ms", "p99": "ms", "max": "ms",
    "fidelity": "", "errors": "", "rss": "MiB",
}  # fmt: skip
"""What can be asked for, and in which unit it is judged."""
_UNITS: Mapping[str, Mapping[str, float]] = {
    "ms": {"": 1.0, "ms": 1.0, "s": 1000.0, "us": 0.001, "µs": 0.001},
    "MiB": {"": 1.0, "MiB": 1.0, "GiB": 1024.0, "MB": 1e6 / 2**20, "GB": 1e9 / 2**20},
    "": {"": 1.0},
}
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": lambda value, limit: value <= limit,
    ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit,
    ">": lambda value, limit: value > limit,
}
_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


class ConditionError(Exception):
    """A condition cannot be read: the text, a caret below the place, and what would do."""

    def __init__(self, text: str, place: int, why: str) -> None:
        super().__init__(f"{why}\n  {text}\n  {' ' * place}^")


@dataclass(frozen=True, slots=True)
class Condition:
    """`figure comparison limit`. With a baseline the limit is a relative change against it, -0.05 for -5 %."""

    text: str
    figure: str
    comparison: str
    limit: float
    baseline: str = ""

    @property
    def unit(self) -> str:
        return FIGURES[self.figure]

    def holds(self, value: float) -> bool:
        """`value` in the figure's unit, or the relative change."""
        return _HOLDS[self.comparison](value, self.limit)


def parse_condition(text: str) -> Condition:
    """`FIGURE < | <= | > | >= VALUE[UNIT]`, or `… ±PERCENT%@BASELINE`. Raises ConditionError."""
    figure, place = _figure(text)
    comparison = next((one for one in _HOLDS if text.startswith(one, place)), "")
    if not comparison:
        raise ConditionError(text, place, f"a comparison belongs here: one of {' '.join(_HOLDS)}")
    place = _past_spaces(text, place + len(comparison))
    number = _NUMBER.match(text, place)
    if number is None:
        raise ConditionError(text, place, f"a number belongs here, as in {figure}{comparison}100 or -5%@main")
    value, place = float(number[0].replace("_", "")), _past_spaces(text, number.end())
    if text.startswith("%", place):
        return Condition(text, figure, comparison, value / 100, _baseline(text, place + 1))
    return Condition(text, figure, comparison, value * _scale(text, place, figure))


def _figure(text: str) -> tuple[str, int]:
    begin = _past_spaces(text, 0)
    found = re.compile(r"\w+").match(text, begin)
    word = found[0] if found else ""
    name = word.removesuffix("_ms")
    if name not in FIGURES:
        near = difflib.get_close_matches(name, FIGURES, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(FIGURES)}"
        raise ConditionError(text, begin, f"{word!r} is no figure: {hint}" if word else f"a figure comes first: {hint}")
    return name, _past_spaces(text, begin + len(word))


def _baseline(text: str, place: int) -> str:
    place = _past_spaces(text, place)
    if not text.startswith("@", place):
        raise ConditionError(
            text, place, "a percentage is a change against a baseline: @NAME belongs here, as in -5%@main"
        )
    name = text[place + 1 :].strip()
    if not name or " " in name:
        raise ConditionError(
            text, place + 1, "the baseline's name belongs here: a tag (runs pin NAME ID), or a run's id"
        )
    return name


def _scale(text: str, place: int, figure: str) -> float:
    unit, units = text[place:].strip(), _UNITS[FIGURES[figure]]
    if unit.startswith("@"):
        raise ConditionError(
            text, place, "% belongs before @: a baseline is compared with by a percentage, as in -5%@main"
        )
    if unit not in units:
        allowed = ", ".join(name for name in units if name)
        says = f"one of {allowed} belongs here" if allowed else f"{figure} has no unit: leave it out"
        raise ConditionError(text, place, says)
    return units[unit]


def _past_spaces(text: str, place: int) -> int:
    while place < len(text) and text[place] == " ":
        place += 1
    return place
