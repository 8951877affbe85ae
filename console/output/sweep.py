"""A sweep for programs, for people at its end, and for those who wait: one object, one table, one line."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from console.model.durations import duration
from console.output.table import MARKS, figure, table
from console.store.labels import cell_name
from console.sweep.labels import load_of
from console.sweep.point import SweepPoint
from console.sweep.state import PointState, PointStatus, SweepState

SCHEMA_VERSION = 1

_HEAD = ("cell", "load", "texts/s", "p95 ms", "fidelity", "verdict")

_RIGHT = {"texts/s", "p95 ms", "fidelity"}

_WORDS = {"client_bound": "client bound"}


def as_json(state: SweepState, order: Sequence[SweepPoint], *, interrupted: bool) -> dict[str, Any]:
    """`order`: of the specification; the cells were measured in another."""
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
    cell, found = one.point, one.figures
    return {
        "cell": cell.hash,
        "repeat": cell.repeat,
        "status": str(one.status),
        "verdict": found.verdict if found else None,
        "message": one.message or None,
        "fell_back": one.fell_back or None,
        "resumed": one.resumed,
        "requested": asdict(cell.target),
        "knobs": cell.knobs,
        "workload": asdict(cell.run.load),
        "figures": None if found is None else asdict(found),
    }


def _sorted(cells: Sequence[PointState], order: Sequence[SweepPoint]) -> list[PointState]:
    places = {cell.hash: place for place, cell in enumerate(order)}
    return sorted(cells, key=lambda one: places.get(one.point.hash, len(places)))


def as_text(state: SweepState, order: Sequence[SweepPoint]) -> str:
    """A line a cell, in the order of the specification; ~ marks what was not steady, ⚠ what fell back."""
    cells = _sorted(state.points, order)
    lines = [table(_HEAD, [_line(one) for one in cells], _RIGHT)]
    lines += sorted({f"⚠ {one.fell_back}" for one in cells if one.fell_back})
    counts = [f"{state.count(status)} {status}" for status in PointStatus if state.count(status)]
    lines.append(f"sweep {state.sweep_id}: {', '.join(counts)}")
    if shaky := sum(one.figures is not None and one.figures.verdict == "unstable" for one in cells):
        lines.append(
            f"~ {shaky} not steady: `embedconsole runs show RUN` says why; a longer duration or more repeats settle it"
        )
    return "\n".join(lines)


def _line(one: PointState) -> tuple[str, ...]:
    found = one.figures
    return (
        name_of(one),
        load_of(one.point),
        figure(found.texts_per_s, ",.0f", found.throughput_stable) if found else "–",
        figure(found.p95_ms, ",.1f", found.p95_stable) if found else "–",
        figure(found.fidelity, ".4f", True) if found else "–",
        verdict_of(one),
    )


def name_of(one: PointState) -> str:
    """What ran, or what was asked for while nothing has."""
    fell_back = " ⚠" if one.fell_back else ""
    if one.figures is not None and one.figures.effective.cell:
        return cell_name(one.point.target, one.figures.effective) + fell_back
    return one.point.target.cell or "as it is"


def verdict_of(one: PointState) -> str:
    """In words, with its mark."""
    found = one.figures
    if one.status in (PointStatus.SKIPPED, PointStatus.FAILED):
        mark = MARKS["failed"] if one.status is PointStatus.FAILED else "–"
        return f"{mark} {one.status}: {one.message}"
    if found is None:
        return str(one.status)
    missed = ", SLO missed" if found.slo_missed and found.verdict == "ok" else ""
    earlier = ", measured before" if one.resumed else ""
    return f"{MARKS.get(found.verdict, '?')} {_WORDS.get(found.verdict, found.verdict)}{missed}{earlier}"


def progress_line(state: SweepState) -> str:
    """Where it stands, in one line."""
    over = sum(one.status not in (PointStatus.WAITING, PointStatus.RUNNING) for one in state.points)
    place = state.running
    which = f" {name_of(state.points[place])}, {load_of(state.points[place].point)}:" if place is not None else ""
    return f"[{over}/{len(state.points)}]{which} {state.doing}; {duration(state.left_s)} left"


def ended_line(one: PointState, state: SweepState) -> str:
    """One cell that has just ended."""
    over = sum(other.status not in (PointStatus.WAITING, PointStatus.RUNNING) for other in state.points)
    found = one.figures
    rate = f"{found.texts_per_s:,.0f} texts/s, " if found is not None and found.texts_per_s is not None else ""
    left = f"; {duration(state.left_s)} left" if state.left_s else ""
    return f"[{over}/{len(state.points)}] {name_of(one)}, {load_of(one.point)}: {rate}{verdict_of(one)}{left}"
