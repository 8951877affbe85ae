"""A sweep as JSON, as a table, and as one line of progress."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from console.model.durations import duration
from console.model.verdicts import NOT_STEADY, verdict_word
from console.output.table import MARKS, figure, table
from console.store.labels import cell_name
from console.sweep.labels import load_of
from console.sweep.point import SweepPoint
from console.sweep.state import PointState, PointStatus, SweepState

SCHEMA_VERSION = 1

_HEAD = ("cell", "load", "texts/s", "p95 ms", "fidelity", "verdict")

_RIGHT = {"texts/s", "p95 ms", "fidelity"}


def as_json(state: SweepState, order: Sequence[SweepPoint], *, interrupted: bool) -> dict[str, Any]:
    """Returns one object. `order` holds the cells in the order of the specification, which the output keeps."""
    return {
        "schema_version": SCHEMA_VERSION,
        "sweep_id": state.sweep_id,
        "name": state.name,
        "interrupted": interrupted,
        "trouble": state.trouble or None,
        "counts": {str(status): state.count(status) for status in PointStatus},
        "cells": [_cell(one) for one in _sorted(state.points, order)],
    }


def _cell(one: PointState) -> dict[str, Any]:
    cell, figures = one.point, one.figures
    return {
        "cell": cell.hash,
        "repeat": cell.repeat,
        "status": str(one.status),
        "verdict": figures.verdict if figures else None,
        "message": one.message or None,
        "fell_back": one.fell_back or None,
        "resumed": one.resumed,
        "requested": asdict(cell.target),
        "knobs": cell.knobs,
        "workload": asdict(cell.run.load),
        "figures": None if figures is None else asdict(figures),
    }


def _sorted(cells: Sequence[PointState], order: Sequence[SweepPoint]) -> list[PointState]:
    places = {cell.hash: place for place, cell in enumerate(order)}
    return sorted(cells, key=lambda one: places.get(one.point.hash, len(places)))


def as_text(state: SweepState, order: Sequence[SweepPoint]) -> str:
    """Returns one line per cell, in the order of the specification; ~ marks an unsteady figure, ⚠ a fallback."""
    cells = _sorted(state.points, order)
    lines = [table(_HEAD, [_line(one) for one in cells], _RIGHT)]
    lines += sorted({f"⚠ {one.fell_back}" for one in cells if one.fell_back})
    counts = [f"{state.count(status)} {status}" for status in PointStatus if state.count(status)]
    lines.append(f"sweep {state.sweep_id}: {', '.join(counts)}")
    if unsteady := sum(one.figures is not None and one.figures.verdict in NOT_STEADY for one in cells):
        lines.append(
            f"~ {unsteady} not steady: `embedconsole runs show RUN` gives the reason; use a longer duration or more"
            " repeats"
        )
    return "\n".join(lines)


def _line(one: PointState) -> tuple[str, ...]:
    figures = one.figures
    return (
        name_of(one),
        load_of(one.point),
        figure(figures.texts_per_s, ",.0f", figures.throughput_stable) if figures else "–",
        figure(figures.p95_ms, ",.1f", figures.p95_stable) if figures else "–",
        figure(figures.fidelity, ".4f", True) if figures else "–",
        verdict_of(one),
    )


def name_of(one: PointState) -> str:
    """The deployment that ran, or the requested one while nothing has run."""
    fell_back = " ⚠" if one.fell_back else ""
    if one.figures is not None and one.figures.effective.cell:
        return cell_name(one.point.target, one.figures.effective) + fell_back
    return one.point.target.cell or "unchanged"


def verdict_of(one: PointState) -> str:
    """The verdict with its mark, or the status of a cell without figures."""
    figures = one.figures
    if one.status in (PointStatus.SKIPPED, PointStatus.FAILED):
        mark = MARKS["failed"] if one.status is PointStatus.FAILED else "–"
        return f"{mark} {one.status}: {one.message}"
    if figures is None:
        return str(one.status)
    missed = ", SLO missed" if figures.slo_missed and figures.verdict == "ok" else ""
    earlier = ", measured before" if one.resumed else ""
    return f"{MARKS.get(figures.verdict, '?')} {verdict_word(figures.verdict)}{missed}{earlier}"


def progress_line(state: SweepState) -> str:
    """The progress of the sweep in one line."""
    ended = sum(one.status not in (PointStatus.WAITING, PointStatus.RUNNING) for one in state.points)
    place = state.running
    which = f" {name_of(state.points[place])}, {load_of(state.points[place].point)}:" if place is not None else ""
    return f"[{ended}/{len(state.points)}]{which} {state.doing}; {duration(state.left_s)} left"


def ended_line(one: PointState, state: SweepState) -> str:
    """The result of a cell that has just ended, in one line."""
    ended = sum(other.status not in (PointStatus.WAITING, PointStatus.RUNNING) for other in state.points)
    figures = one.figures
    rate = f"{figures.texts_per_s:,.0f} texts/s, " if figures is not None and figures.texts_per_s is not None else ""
    left = f"; {duration(state.left_s)} left" if state.left_s else ""
    return f"[{ended}/{len(state.points)}] {name_of(one)}, {load_of(one.point)}: {rate}{verdict_of(one)}{left}"
