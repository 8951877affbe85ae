"""The capability matrix as text: a table for people, JSON for programs."""

import json
from typing import Any

from engine.capabilities import PRECISIONS, CellReport, CellState, matrix
from engine.machine import PlatformFacts

GLYPHS = {CellState.NATIVE: "●", CellState.SLOW: "○", CellState.FALLS_BACK: "✕", CellState.UNAVAILABLE: "–"}


def as_json_text(facts: PlatformFacts) -> str:
    """One JSON object: platform and cells."""
    platform = {
        "name": facts.name, "system": facts.system, "arch": facts.arch, "devices": list(facts.devices),
        "cores": facts.cores, "cpu_model": facts.cpu_model, "packages": dict(facts.packages),
    }  # fmt: skip
    return json.dumps({"platform": platform, "cells": [_cell(report) for report in matrix(facts)]}, indent=2)


def _cell(report: CellReport) -> dict[str, Any]:
    effective = report.effective
    return {
        "backend": report.asked.backend,
        "precision": report.asked.precision,
        "device": report.asked.device,
        "recipe": report.recipe,
        "state": report.state.value,
        "effective": {"backend": effective.backend, "precision": effective.precision, "device": effective.device},
        "code": report.code,
        "reason": report.reason,
        "fix": report.fix,
        "probe": "not_run",
    }


def as_table(facts: PlatformFacts) -> str:
    """Rows of backend and device, columns of precision, and a sentence for each cell that is not native."""
    reports = list(matrix(facts))
    columns = [one for one in PRECISIONS if any(report.asked.precision == one for report in reports)]
    rows = list(dict.fromkeys((report.asked.backend, report.asked.device) for report in reports))
    by_cell = {(report.asked.backend, report.asked.device, report.asked.precision): report for report in reports}
    lines = [
        f"{facts.name}: {facts.cpu_model}, {facts.cores} cores",
        "",
        " " * 18 + "".join(f"{c:>6}" for c in columns),
    ]
    for backend, device in rows:
        glyphs = (by_cell.get((backend, device, column)) for column in columns)
        lines.append(f"{backend:<10}{device:<8}" + "".join(f"{GLYPHS[g.state] if g else ' ':>6}" for g in glyphs))
    lines += ["", "● native  ○ slow  ✕ falls back  – unavailable", ""]
    reasons = dict.fromkeys(f"{report.reason}{_then(report.fix)}" for report in reports if report.reason)
    return "\n".join([*lines, *(f"- {reason}" for reason in reasons)])


def _then(fix: str) -> str:
    return f" ({fix})" if fix else ""
