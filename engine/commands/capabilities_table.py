"""The capability matrix as tables for a terminal and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from engine.backends.base import Cell
from engine.capabilities.matrix import CapabilityCell
from engine.capabilities.platform import named_platform
from engine.capabilities.probes import ProbeResult
from engine.capabilities.resolve import BACKENDS, PRECISIONS, CellReport, report_cell
from engine.capabilities.rules import CellState
from engine.host.machine import PLATFORM_NAMES, PlatformFacts

GLYPHS = {CellState.NATIVE: "●", CellState.SLOW: "○", CellState.FALLS_BACK: "✕", CellState.UNAVAILABLE: "–"}
LEGEND = "● native  ○ slow  ✕ falls back  – unavailable"
_COMMON_PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int4")
_STATES = tuple(GLYPHS)


def as_json_text(facts: PlatformFacts, cells: Sequence[CapabilityCell]) -> str:
    """Returns one JSON object with the platform and its cells."""
    platform = {
        "name": facts.name, "system": facts.system, "arch": facts.arch, "devices": list(facts.devices),
        "cores": facts.cores, "cpu_model": facts.cpu_model, "isa": sorted(facts.isa), "gpu_model": facts.gpu_model,
        "compute_capability": facts.compute_capability, "packages": dict(facts.packages), "assumed": facts.assumed,
    }  # fmt: skip
    return json.dumps({"platform": platform, "cells": [_row(cell) for cell in cells]}, indent=2)


def _row(cell: CapabilityCell) -> dict[str, Any]:
    report, measurement = cell.report, cell.measurement
    row: dict[str, Any] = {
        **asdict(report.asked),
        "state": report.state.value,
        "effective": asdict(report.effective),
        "code": report.code,
        "reason": report.reason,
        "fix": report.fix,
        "probe": cell.probe.result.value,
        "evidence": cell.probe.detail,
    }
    if measurement is not None:
        row["measured"] = {
            "texts_per_s": measurement.texts_per_s,
            "fidelity": measurement.mean_cosine,
            "fidelity_texts": measurement.cosine_texts or None,
            "fidelity_method": None
            if measurement.mean_cosine is None
            else ("when_loaded" if measurement.fidelity is None else "measured"),
            "peak": None if measurement.peak is None else asdict(measurement.peak),
        }
    return row


def as_table(facts: PlatformFacts, cells: Sequence[CapabilityCell]) -> str:
    """Returns a table of states, the reasons of cells that are not native, the recipes, and all platforms."""
    defaults = _default_recipes(cells)
    columns = [one for one in PRECISIONS if any(cell.precision == one for cell in defaults)]
    rows = list(dict.fromkeys((cell.backend, cell.device) for cell in defaults))
    about = f"{facts.name}: {facts.cpu_model}" + (f", {facts.gpu_model}" if facts.gpu_model else "")
    about += f", assumed to have {facts.assumed}" if facts.assumed else f", {facts.cores} cores"
    lines = [about, "", " " * 18 + "".join(f"{c:>6}" for c in columns)]
    for backend, device in rows:
        row = (defaults.get(Cell(backend=backend, precision=column, device=device)) for column in columns)
        glyphs = "".join(f"{GLYPHS[one.report.state] if one else ' ':>6}" for one in row)
        lines.append(f"{backend:<10}{device:<8}{glyphs}")
    lines += ["", f"{LEGEND}   {_probed(cells)}".rstrip(), ""]
    reports = [cell.report for cell in cells]
    reasons = dict.fromkeys(f"{report.reason}{_parenthesised(report.fix)}" for report in reports if report.reason)
    lines += [f"- {reason}" for reason in reasons]
    lines += [*_recipes(cells), "", *_platforms(facts)]
    return "\n".join(lines)


def _default_recipes(cells: Sequence[CapabilityCell]) -> dict[Cell, CapabilityCell]:
    """Returns the cell of the default recipe by backend, precision and device, which comes first in `cells`."""
    defaults: dict[Cell, CapabilityCell] = {}
    for cell in cells:
        defaults.setdefault(replace(cell.report.asked, recipe=""), cell)
    return defaults


def _probed(cells: Sequence[CapabilityCell]) -> str:
    results = [cell.probe.result for cell in cells]
    passed, failed = results.count(ProbeResult.PASSED), results.count(ProbeResult.FAILED)
    return f"({passed} probes passed, {failed} failed)" if passed or failed else ""


def _recipes(cells: Sequence[CapabilityCell]) -> list[str]:
    """Returns a line for each recipe that runs, with its last measurement and the evidence of its precision."""
    rows = []
    for cell in cells:
        asked, measurement = cell.report.asked, cell.measurement
        if not cell.report.runs_as_asked or (cell.probe.result is ProbeResult.NOT_RUN and measurement is None):
            continue
        cosine = measurement.cosine_text if measurement else ""
        name = f"{asked.backend} {asked.precision} {asked.recipe}"
        rows.append(f"  {name:<30}{asked.device:<8}{cosine:<46}  {cell.probe.detail}".rstrip())
        if measurement and measurement.peak:
            rows.append(f"  {'':<38}{measurement.peak}")
    head = "Recipes that run here, how close they are to fp32, and the evidence of their precision:"
    note = "The best 5 s of a cell are of the load that it last served: they compare cells only under the same load."
    return ["", head, *rows, *([note] if any(cell.measurement and cell.measurement.peak for cell in cells) else [])]


def _platforms(facts: PlatformFacts) -> list[str]:
    """Returns a table of the best cell of each platform, device and precision, over all backends."""
    lines = [
        "The best backend of each platform:",
        " " * 24 + "".join(f"{c.upper():<14}" for c in _COMMON_PRECISIONS).rstrip(),
    ]
    for name in PLATFORM_NAMES:
        other = named_platform(name)
        mark = "▸ " if name == facts.name else "  "
        for device in other.devices:
            cells = "".join(f"{_best(precision, device, other):<14}" for precision in _COMMON_PRECISIONS)
            lines.append(f"{mark}{name:<14}{device:<8}{cells}".rstrip())
    return lines


def _best(precision: str, device: str, facts: PlatformFacts) -> str:
    backends = ("openvino", "onnx", "torch") if device == "cpu" else BACKENDS
    reports = [report_cell(Cell(backend=backend, precision=precision, device=device), facts) for backend in backends]
    best: CellReport = min(reports, key=lambda report: _STATES.index(report.state))
    glyph = GLYPHS[best.state]
    if best.state is CellState.FALLS_BACK:
        return f"{glyph} → {best.effective.precision}"
    return glyph if best.state is CellState.UNAVAILABLE else f"{glyph} {best.effective.backend}"


def _parenthesised(fix: str) -> str:
    return f" ({fix})" if fix else ""
