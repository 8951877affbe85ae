"""A comparison as JSON and as text."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from console.analysis.ratios import Ratio
from console.compare.stored import SIDES, ComparedFigure, Comparison, Difference, Pair
from console.output.table import table
from console.store.selectors import Selection

SCHEMA_VERSION = 1
_LONGEST_VALUE = 60
"""Characters of a setting's value that are shown."""


def as_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Returns one object. Every ratio is the other side over the baseline, whose fields are named `base`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "base": _set(comparisons[0].base),
        "comparisons": [_comparison(one) for one in comparisons],
    }


def _set(runs: Selection) -> dict[str, Any]:
    return {"name": runs.name, "kind": runs.kind, "runs": [row.run_id for row in runs.rows]}


def _comparison(one: Comparison) -> dict[str, Any]:
    return {
        "other": _set(one.other),
        "pairs": [_pair(pair) for pair in one.pairs],
        "overall": finding_object(one.overall) if one.overall is not None else None,
        "unpaired": list(one.unpaired),
        "settings": [asdict(difference) for difference in one.settings],
        "environment": [asdict(difference) for difference in one.environment],
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "load": pair.load,
        "base": {"cell": pair.base_cell, "runs": list(pair.base_runs)},
        "other": {"cell": pair.other_cell, "runs": list(pair.other_runs)},
        "texts_per_s": finding_object(pair.texts_per_s),
        "p95_ms": finding_object(pair.p95_ms),
        "unsteady": list(pair.unsteady),
    }


def finding_object(finding: ComparedFigure) -> dict[str, Any]:
    """Returns a finding as a flat object: figures rounded to 3 digits, ratios to 4."""
    ratio = finding.ratio
    return {
        "base": _rounded(finding.base, 3),
        "other": _rounded(finding.other, 3),
        "ratio": _rounded(ratio.value if ratio else None, 4),
        "ci_low": _rounded(ratio.low if ratio else None, 4),
        "ci_high": _rounded(ratio.high if ratio else None, 4),
        "says": finding.verdict,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def as_text(comparisons: Sequence[Comparison]) -> str:
    """Returns the sides by letter, a table with one line per load, and what else differs."""
    lines = [f"A  {comparisons[0].base.title}: the baseline"]
    for letter, one in zip(SIDES[1:], comparisons, strict=False):
        lines += ["", f"{letter}  {one.other.title}", "", _pairs(one, letter)]
        if one.overall is not None:
            ratio, verdict = ratio_text(one.overall.ratio), verdict_text(one.overall)
            lines.append(f"over {len(one.pairs)} loads: texts/s {ratio}, {verdict}")
        lines += _notes(one)
    return "\n".join(lines)


def _pairs(one: Comparison, letter: str) -> str:
    head = ("load", "cell", "texts/s A", f"texts/s {letter}", f"{letter}/A (95 %)", "", "p95 ms A", f"p95 ms {letter}",
            f" {letter}/A (95 %)", " ")  # fmt: skip
    return table(head, [_line(pair) for pair in one.pairs], {*head[2:4], *head[6:8]})


def _line(pair: Pair) -> tuple[str, ...]:
    speeds, delays = pair.texts_per_s, pair.p95_ms
    cells = pair.base_cell if pair.base_cell == pair.other_cell else f"{pair.base_cell} | {pair.other_cell}"
    mark = " ~" if pair.unsteady else ""
    verdict = verdict_text(delays) if delays.ratio is not None else ""
    return (
        pair.load, cells,
        _figure(speeds.base, ",.0f"), _figure(speeds.other, ",.0f"), ratio_text(speeds.ratio),
        verdict_text(speeds) + mark,
        _figure(delays.base, ",.1f"), _figure(delays.other, ",.1f"), ratio_text(delays.ratio), verdict,
    )  # fmt: skip


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def verdict_text(finding: ComparedFigure) -> str:
    """The verdict as text; `undecided`, its name in JSON, is `inconclusive`."""
    return "inconclusive" if finding.verdict == "undecided" else finding.verdict


def ratio_text(ratio: Ratio | None) -> str:
    """`1.42 (1.38 to 1.46)`, or `1.42 (no interval)`."""
    if ratio is None:
        return "–"
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.2f} (no interval)"
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _notes(one: Comparison) -> list[str]:
    lines = [f"only on one side: {name}" for name in one.unpaired]
    if unsteady := [run_id for pair in one.pairs for run_id in pair.unsteady]:
        lines.append(
            f"~ not every run is valid: {', '.join(dict.fromkeys(unsteady))}; `embedconsole runs show` gives the reason"
        )
    lines += [f"differs     {difference_text(difference)}" for difference in one.settings]
    if one.environment:
        lines.append("! the environment differs, so a ratio may not be due to the deployment alone:")
        lines += [f"            {difference_text(difference)}" for difference in one.environment]
    return ["", *lines] if lines else []


def difference_text(difference: Difference) -> str:
    """`load.batch 1 → 32`"""
    return f"{difference.name} {_value(difference.base)} → {_value(difference.other)}"


def _value(value: Any) -> str:
    text = "–" if value is None or value == "" else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
