"""Probes: one real forward pass of a tiny model per cell, in a child process; results are kept per environment."""

import asyncio
import contextlib
import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from engine import __version__, artifacts, backends
from engine.backends.base import Cell
from engine.backends.product_probe import can_probe
from engine.backends.recipes import recipes_of
from engine.capabilities.resolve import report_cells
from engine.host import isa, memory
from engine.host.cache import cache_root
from engine.host.child import ChildLost, ChildSilent, reports
from engine.host.json_file import read_json, update_json
from engine.host.machine import PlatformFacts

CELL_LIMIT_S = 120.0
"""Longest time of one cell, in seconds: the first cell of a runtime imports it, which is slow from a cold disk."""
ALL_LIMIT_S = 420.0
"""Time after which no further cell is started, in seconds."""
_FORMAT = 1
_CODE = (
    Path(artifacts.__file__).parent, Path(backends.__file__).parent, Path(isa.__file__), Path(memory.__file__),
)  # fmt: skip
"""The code that prepares, loads and runs a cell: a change there may change the result of a probe."""


class ProbeResult(StrEnum):
    """The result of a probe."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True)
class Probe:
    """The probe of one cell. `detail` is the evidence, or the reason of the failure."""

    result: ProbeResult = ProbeResult.NOT_RUN
    detail: str = ""


def environment_hash(facts: PlatformFacts) -> str:
    """Returns a hash of everything that may change the result of a probe: machine, runtimes and this engine's code."""
    content = [
        _FORMAT, __version__, code_hash(_CODE), platform.python_version(), facts.system, facts.arch,
        facts.cpu_model, facts.devices, facts.gpu_model, facts.compute_capability, sorted(facts.isa),
        sorted(facts.packages.items()),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def code_hash(paths: Sequence[Path]) -> str:
    """Returns the sha256 of Python files: those in `paths`, and those in its folders, by relative path.

    The path of the folder itself does not count: the same code installed elsewhere has the same hash.
    """
    digest = hashlib.sha256()
    for root in paths:
        files = [root] if root.is_file() else root.rglob("*.py")
        for path in sorted(files, key=lambda path: path.relative_to(root).as_posix()):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class ProbeCache:
    """The results of probes in this environment; another environment has another file."""

    def __init__(self, facts: PlatformFacts) -> None:
        self._path = cache_root() / "probes" / f"{environment_hash(facts)[:32]}.json"

    def read(self, cells: Iterable[Cell]) -> dict[Cell, Probe]:
        """Returns the results of these cells, without missing and damaged entries."""
        rows, probes = read_json(self._path), {}
        for cell in cells:
            with contextlib.suppress(KeyError, TypeError, ValueError):  # missing or damaged
                row = rows[_key(cell)]
                probes[cell] = Probe(ProbeResult(row["result"]), str(row["detail"]))
        return probes

    def add(self, cell: Cell, probe: Probe) -> None:
        """Stores a result. If the cache cannot be written, the cell is probed again next time."""
        with contextlib.suppress(OSError):
            update_json(self._path, lambda rows: {**rows, _key(cell): asdict(probe)})


def _key(cell: Cell) -> str:
    """Returns the cell and a hash of its recipe: a changed recipe is probed again.

    The parts and their order are part of the file's format.
    """
    recipes = recipes_of(cell.backend, cell.precision, cell.device)
    recipe = next((asdict(one) for one in recipes if one.name == cell.recipe), {})
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
    return "/".join((cell.backend, cell.precision, cell.device, cell.recipe, digest))


def cells_to_probe(facts: PlatformFacts) -> list[Cell]:
    """Returns the cells that can be probed, also those that the rules exclude: a failure confirms such a rule.

    A cell without a recipe is probed with one matrix product, where its runtime offers its precision.
    """
    return [
        report.asked
        for report in report_cells(facts)
        if report.code not in ("missing_package", "no_build")
        and (report.asked.recipe or _product_can_be_asked(report.asked))
    ]


def _product_can_be_asked(cell: Cell) -> bool:
    return cell.device == "cpu" and can_probe(cell.backend, cell.precision)


async def run_missing(
    facts: PlatformFacts, cells: Sequence[Cell], on_cell: Callable[[Cell, int, int], None]
) -> Mapping[Cell, Probe]:
    """Probes those of `cells` that have no result yet. Returns all results.

    Calls `on_cell` with the cell that starts, the number done and the total. If a child process dies or hangs, its
    current cell fails, and another child continues with the next one.
    """
    cache = ProbeCache(facts)
    known = cache.read(cells)
    missing = [cell for cell in cells if cell not in known]
    deadline_s = time.monotonic() + ALL_LIMIT_S

    def begin(cell: Cell) -> None:
        on_cell(cell, missing.index(cell), len(missing))

    waiting = missing
    while waiting and time.monotonic() < deadline_s:
        probes, hung = await _probe_some(waiting, begin)
        for cell, probe in probes.items():
            known[cell] = probe
            if cell != hung:
                cache.add(cell, probe)
        waiting = [cell for cell in waiting if cell not in probes]
    return known


async def _probe_some(
    waiting: Sequence[Cell], on_cell: Callable[[Cell], None]
) -> tuple[dict[Cell, Probe], Cell | None]:
    """Returns the results of one child process and the cell at which it hung.

    A cell that hung is not kept in the cache, because the cause may be the load of the machine.
    """
    probes: dict[Cell, Probe] = {}
    order = {"cells": [asdict(cell) for cell in waiting]}
    current = waiting[0]
    on_cell(current)
    try:
        async with aclosing(reports("engine.capabilities.probe_child", order, silent_s=CELL_LIMIT_S)) as lines:
            async for line in lines:
                current = Cell(**line["cell"])
                if line["event"] == "begin":
                    on_cell(current)
                else:
                    probes[current] = Probe(ProbeResult(line["result"]), line["detail"])
    except ChildLost as error:
        current = next(cell for cell in waiting if cell not in probes)
        probes[current] = Probe(ProbeResult.FAILED, str(error))
        return probes, current if isinstance(error, ChildSilent) else None
    return probes, None


def stored_probes(facts: PlatformFacts) -> Mapping[Cell, Probe]:
    """Returns the stored results of this machine; runs nothing."""
    return ProbeCache(facts).read(cells_to_probe(facts))


def probe_this_machine(facts: PlatformFacts, on_cell: Callable[[Cell, int, int], None]) -> Mapping[Cell, Probe]:
    """Runs every missing probe and returns all results. Blocks for up to ALL_LIMIT_S."""
    return asyncio.run(run_missing(facts, cells_to_probe(facts), on_cell))
