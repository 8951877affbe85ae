"""Runs, sweeps and comparisons as objects, and objects as JSON or CSV text. Names carry units."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from console.analysis.differences import flatten
from console.compare.side_by_side import SideBySide
from console.output.runs import as_objects
from console.output.sweep import as_json as sweep_object
from console.store.read import RunRow
from console.sweep.state import SweepState

Objects = list[dict[str, Any]]


def of_runs(rows: Sequence[RunRow]) -> Objects:
    """Returns one object per run, the same as `runs --json`."""
    return as_objects(rows)


def of_sweep(state: SweepState) -> Objects:
    """Returns one object per cell: that of `sweep --json`, with the sweep's id."""
    cells: Objects = sweep_object(state, [one.point for one in state.points], interrupted=False)["cells"]
    return [{"sweep_id": state.sweep_id, **cell} for cell in cells]


def of_comparison(comparison: SideBySide) -> Objects:
    """Returns one object per run: its figures, their ratios to the first run (the baseline), its configuration."""
    objects: Objects = []
    for at, opened in enumerate(comparison.runs):
        versus = {row.name: row.versus[at] for row in comparison.figures}
        objects.append(
            {
                "run_id": opened.run.row.run_id,
                "baseline": at == 0,
                "verdict": opened.run.row.verdict,
                "figures": {row.name: row.values[at] for row in comparison.figures},
                "ratios": {
                    name: {"ratio": one.ratio, "margin": one.margin, "verdict": one.verdict or None}
                    for name, one in versus.items()
                    if one is not None
                },
                "configuration": {row.name: row.values[at] for row in comparison.config},
                "environment_differs": {row.name: row.values[at] for row in comparison.environment},
            }
        )
    return objects


def as_json(objects: Objects) -> str:
    """Returns an indented array."""
    return json.dumps(objects, indent=1, ensure_ascii=False) + "\n"


def as_csv(objects: Objects) -> str:
    """Returns one line per object. Nested names are joined with dots; the columns are the names of all objects."""
    lines = [{name: _written(value) for name, value in flatten(one).items()} for one in objects]
    names = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _written(value: Any) -> Any:
    """A value of one column: the elements of a list are separated by spaces."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value
