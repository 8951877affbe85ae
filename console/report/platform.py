"""Sections of a report on the machine: the capability matrix and the environment. Pure functions."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from console.model.engine import CapabilityCell
from console.report.blocks import Block, Facts, Section, Table, Terms, Text
from console.report.model import ReportModel
from console.report.rows import backend_title, deployment_title

_HASH, _HASH_CHARACTERS = re.compile("[0-9a-f]{40,}"), 12
"""Hashes are shown by their first characters; JSON has them whole."""
_PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8", "int4")
_STATES = {"native": "✓ native", "slow": "~ slow", "falls_back": "~ falls back", "unavailable": "✕ unavailable"}

_TERMS = Terms(
    (
        ("Native", "the runtime computes in this precision here."),
        ("Falls back", "another deployment runs instead, and the engine says so."),
        ("Slow", "it runs, but slower than fp32."),
        ("Unavailable", "it cannot be loaded here. –: not offered."),
    )
)


def limits(model: ReportModel) -> Section:
    """Returns the capability matrix, and a table of every cell that is not native with its reason and fix."""
    cells = model.capabilities
    if not cells:
        return Section("Platform limits", ())
    devices = list(dict.fromkeys(cell.device for cell in cells))
    several = len(devices) > 1
    rows = tuple(
        (
            backend_title(cell.backend), cell.precision + (f" ({cell.recipe})" if cell.recipe else ""),
            *([cell.device] if several else []), _STATES.get(str(cell.state), str(cell.state)),
            deployment_title(cell.effective) if str(cell.state) == "falls_back" else "–", cell.reason, cell.fix,
        )
        for cell in cells if str(cell.state) != "native"
    )  # fmt: skip
    head = ("Runtime", "Precision", *(["Device"] if several else []), "State", "Runs as", "Reason", "Fix")
    blocks: list[Block] = [
        Text(
            f"What this machine can run on {' and '.join(devices)}, as stored with the newest of these runs; the best"
            " recipe of each cell."
        ),
        _matrix(cells, several=several),
    ]
    blocks += [Table(head, rows)] if rows else []
    blocks.append(_TERMS)
    return Section("Platform limits and capability matrix", tuple(blocks))


def _matrix(cells: Sequence[CapabilityCell], *, several: bool) -> Table:
    """Returns a table with one row per runtime and device, and one column per precision. `several`: devices."""
    precisions = [one for one in _PRECISIONS if any(cell.precision == one for cell in cells)]
    best: dict[tuple[str, str, str], str] = {}
    for state in reversed(_STATES):
        for cell in cells:
            if str(cell.state) == state:
                best[cell.backend, cell.device, cell.precision] = _STATES[state]
    rows = tuple(
        (
            backend_title(backend), *([device] if several else []),
            *(best.get((backend, device, precision), "–") for precision in precisions),
        )
        for backend, device in dict.fromkeys((cell.backend, cell.device) for cell in cells)
    )  # fmt: skip
    return Table(("Runtime", *(["Device"] if several else []), *precisions), rows)


def environment(model: ReportModel) -> Section:
    """Returns the environment of the last run, after a warning that names the facts that differ between runs."""
    rows = environment_rows(model.environment)
    blocks: list[Block] = []
    if model.mixed:
        blocks.append(
            Text(
                f"~ The environment differs between runs: {', '.join(model.mixed)}. The table shows the last run. Do"
                " not compare figures from different environments."
            )
        )
    return Section("Environment", (*blocks, Facts(rows)) if rows else tuple(blocks))


def environment_rows(facts: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Returns (fact, value) for every known fact in stored order; libraries in one row, memory in GiB."""
    rows: dict[str, str] = {}
    for name, value in facts.items():
        if value in (None, "", [], {}):
            continue
        text = _value(value)
        if name.startswith("libraries."):
            package = f"{name.removeprefix('libraries.')} {text}"
            rows["libraries"] = f"{rows['libraries']}, {package}" if "libraries" in rows else package
        elif name == "memory_bytes":
            rows["memory"] = f"{value / 2**30:,.1f} GiB"
        else:
            rows[name.replace("_", " ").replace(".", " ")] = text
    return tuple(rows.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{text[:_HASH_CHARACTERS]}…" if _HASH.fullmatch(text) else text
