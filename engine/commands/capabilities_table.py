"""The capability matrix as text: tables for people, JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from engine.backends.base import Cell
from engine.capabilities.matrix import Finding
from engine.capabilities.platform import named_platform
from engine.capabilities.probes import ProbeResult
from engine.capabilities.resolve import BACKENDS, PRECISIONS, CellReport, report_cell
from engine.capabilities.rules import CellState
from engine.host.machine import PLATFORM_NAMES, PlatformFacts

GLYPHS = {CellState.NATIVE: "●", CellState.SLOW: "○", CellState.FALLS_BACK: "✕", CellState.UNAVAILABLE: "–"}
LEGEND = "● native  ○ slow  ✕ falls back  – unavailable"
_EVERYWHERE = ("fp32", "fp16", "bf16", "int8", "int4")
_STATES = tuple(GLYPHS)


def as_json_text(facts: PlatformFacts, cells: Sequence[Finding]) -> str:
    """One JSON object: platform and cells."""
    platform = {
        "name": facts.name, "system": facts.system, "arch": facts.arch, "devices": list(facts.devices),
        "cores": facts.cores, "cpu_model": facts.cpu_model, "isa": sorted(facts.isa), "gpu_model": facts.gpu_model,
        "compute_capability": facts.compute_capability, "packages": dict(facts.packages), "assumed": facts.assumed,
    }  # fmt: skip
    return json.dumps({"platform": platform, "cells": [_cell(cell) for cell in cells]}, indent=2)


def _cell(finding: Finding) -> dict[str, Any]:
    report, measured = finding.report, finding.measured
    row: dict[str, Any] = {
        **asdict(report.asked),
        "state": report.state.value,
        "effective": asdict(report.effective),
        "code": report.code,
        "reason": report.reason,
        "fix": report.fix,
        "probe": finding.probe.result.value,
        "evidence": finding.probe.detail,
    }
    if measured is not None:
        row["measured"] = {"texts_per_s": measured.texts_per_s, "fidelity": measured.mean_cosine}
    return row


def as_table(facts: PlatformFacts, cells: Sequence[Finding]) -> str:
    """Rows of backend and device, columns of precision, a sentence for each cell that is not native; all platforms."""
    first = _first_of_each(cells)
    columns = [one for one in PRECISIONS if any(cell.precision == one for cell in first)]
    rows = list(dict.fromkeys((cell.backend, cell.device) for cell in first))
    about = f"{facts.name}: {facts.cpu_model}" + (f", {facts.gpu_model}" if facts.gpu_model else "")
    about += f", assumed to have {facts.assumed}" if facts.assumed else f", {facts.cores} cores"
    lines = [about, "", " " * 18 + "".join(f"{c:>6}" for c in columns)]
    for backend, device in rows:
        found = (first.get(Cell(backend=backend, precision=column, device=device)) for column in columns)
        glyphs = "".join(f"{GLYPHS[one.report.state] if one else ' ':>6}" for one in found)
        lines.append(f"{backend:<10}{device:<8}{glyphs}")
    lines += ["", f"{LEGEND}   {_probed(cells)}".rstrip(), ""]
    reports = [cell.report for cell in cells]
    reasons = dict.fromkeys(f"{report.reason}{_then(report.fix)}" for report in reports if report.reason)
    lines += [f"- {reason}" for reason in reasons]
    lines += [*_recipes(cells), "", *_platforms(facts)]
    return "\n".join(lines)


def _first_of_each(cells: Sequence[Finding]) -> dict[Cell, Finding]:
    """The default recipe's finding by backend, precision and device."""
    first: dict[Cell, Finding] = {}
    for cell in cells:
        first.setdefault(replace(cell.report.asked, recipe=""), cell)
    return first


def _probed(cells: Sequence[Finding]) -> str:
    results = [cell.probe.result for cell in cells]
    passed, failed = results.count(ProbeResult.PASSED), results.count(ProbeResult.FAILED)
    return f"({passed} ran when tried, {failed} did not)" if passed or failed else ""


def _recipes(cells: Sequence[Finding]) -> list[str]:
    """What each recipe that runs was last measured at, and how its precision is known."""
    rows = []
    for cell in cells:
        asked, measured = cell.report.asked, cell.measured
        if not cell.report.runs_as_asked or (cell.probe.result is ProbeResult.NOT_RUN and measured is None):
            continue
        speed = f"{measured.texts_per_s:,.0f} texts/s" if measured and measured.texts_per_s else ""
        cosine = f"cosine {measured.mean_cosine:.5f}" if measured and measured.mean_cosine is not None else ""
        name = f"{asked.backend} {asked.precision} {asked.recipe}"
        rows.append(f"  {name:<30}{asked.device:<8}{speed:>15}  {cosine:<15}  {cell.probe.detail}".rstrip())
    return ["", "Recipes that run here, as last measured, and the proof of their precision:", *rows] if rows else []


def _platforms(facts: PlatformFacts) -> list[str]:
    """The best that each platform's devices make of a precision, over all backends."""
    lines = [
        "What each platform runs, over all backends:",
        " " * 24 + "".join(f"{c.upper():<14}" for c in _EVERYWHERE).rstrip(),
    ]
    for name in PLATFORM_NAMES:
        other = named_platform(name)
        mark = "▸ " if name == facts.name else "  "
        for device in other.devices:
            cells = "".join(f"{_best(precision, device, other):<14}" for precision in _EVERYWHERE)
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


def _then(fix: str) -> str:
    return f" ({fix})" if fix else ""
