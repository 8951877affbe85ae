"""Parses the conditions of a gate: `p95<120ms`, `texts_per_s>-5%@main`. Errors point at the position in the text."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

FIGURES: Mapping[str, str] = {
    "texts_per_s": "", "pairs_per_s": "", "requests_per_s": "",
    "mean": "ms", "p50": "ms", "p90": "ms", "p95": "ms", "p99": "ms", "max": "ms",
    "fidelity": "", "errors": "", "rss": "MiB",
}  # fmt: skip
"""Figures of a condition, and the unit in which each is compared."""
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
    """A condition cannot be parsed. The message has the reason, the text, and a caret below the position."""

    def __init__(self, text: str, position: int, reason: str) -> None:
        super().__init__(f"{reason}\n  {text}\n  {' ' * position}^")


@dataclass(frozen=True, slots=True)
class Condition:
    """`figure comparison limit`. With a baseline, the limit is a relative change: -0.05 for -5 %."""

    text: str
    figure: str
    comparison: str
    limit: float
    baseline: str = ""

    @property
    def unit(self) -> str:
        return FIGURES[self.figure]

    def holds(self, value: float) -> bool:
        """Whether the condition holds for `value`: the figure in its unit or, with a baseline, its relative change."""
        return _HOLDS[self.comparison](value, self.limit)


def parse_condition(text: str) -> Condition:
    """Parses `FIGURE < | <= | > | >= VALUE[UNIT]`, or `… ±PERCENT%@BASELINE`. Raises ConditionError."""
    figure, position = _figure(text)
    comparison = next((one for one in _HOLDS if text.startswith(one, position)), "")
    if not comparison:
        raise ConditionError(text, position, f"a comparison belongs here: one of {' '.join(_HOLDS)}")
    position = _past_spaces(text, position + len(comparison))
    number = _NUMBER.match(text, position)
    if number is None:
        raise ConditionError(text, position, f"a number belongs here, as in {figure}{comparison}100 or -5%@main")
    value, position = float(number[0].replace("_", "")), _past_spaces(text, number.end())
    if text.startswith("%", position):
        return Condition(text, figure, comparison, value / 100, _baseline(text, position + 1))
    return Condition(text, figure, comparison, value * _scale(text, position, figure))


def _figure(text: str) -> tuple[str, int]:
    begin = _past_spaces(text, 0)
    match = re.compile(r"\w+").match(text, begin)
    word = match[0] if match else ""
    name = word.removesuffix("_ms")
    if name not in FIGURES:
        near = difflib.get_close_matches(name, FIGURES, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose among {', '.join(FIGURES)}"
        raise ConditionError(
            text, begin, f"{word!r} is not a figure: {hint}" if word else f"a figure comes first: {hint}"
        )
    return name, _past_spaces(text, begin + len(word))


def _baseline(text: str, position: int) -> str:
    position = _past_spaces(text, position)
    if not text.startswith("@", position):
        raise ConditionError(
            text, position, "a percentage is a change against a baseline: @NAME belongs here, as in -5%@main"
        )
    name = text[position + 1 :].strip()
    if not name or " " in name:
        raise ConditionError(
            text, position + 1, "the baseline's name belongs here: a tag (runs pin NAME ID), or a run's id"
        )
    return name


def _scale(text: str, position: int, figure: str) -> float:
    unit, units = text[position:].strip(), _UNITS[FIGURES[figure]]
    if unit.startswith("@"):
        raise ConditionError(text, position, "% belongs before @: a baseline needs a percentage, as in -5%@main")
    if unit not in units:
        allowed = ", ".join(name for name in units if name)
        reason = f"one of {allowed} belongs here" if allowed else f"{figure} has no unit: leave it out"
        raise ConditionError(text, position, reason)
    return units[unit]


def _past_spaces(text: str, position: int) -> int:
    while position < len(text) and text[position] == " ":
        position += 1
    return position
