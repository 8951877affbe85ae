"""Rules confirmed by trying: a tiny real forward pass of each cell in a child process, remembered per environment."""

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
from engine.backends.product_probe import can_be_asked
from engine.backends.recipes import recipes_of
from engine.capabilities.resolve import CellReport, matrix
from engine.host import isa, memory
from engine.host.cache import cache_root
from engine.host.child import ChildLost, ChildSilent, reports
from engine.host.json_file import read_json, update_json
from engine.host.machine import PlatformFacts

CELL_LIMIT_S = 120.0
"""How long one cell may take: the first one of a runtime imports it, which takes seconds on a cold disk."""
ALL_LIMIT_S = 420.0
"""When this is over no further cell is begun."""
_FORMAT = 1
_CODE = (
    Path(artifacts.__file__).parent, Path(backends.__file__).parent, Path(isa.__file__), Path(memory.__file__),
)  # fmt: skip
"""Where the code lies that prepares, loads and runs a cell: a change there may change what a probe finds."""


class ProbeResult(StrEnum):
    """What trying a cell gave."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True)
class Probe:
    """One cell that was tried. `detail` is its evidence, or why it failed."""

    result: ProbeResult = ProbeResult.NOT_RUN
    detail: str = ""


def environment_hash(facts: PlatformFacts) -> str:
    """Changes with everything that may change what a probe finds: the machine, the runtimes and this engine's code."""
    deciding = [
        _FORMAT, __version__, code_hash(_CODE), platform.python_version(), facts.system, facts.arch,
        facts.cpu_model, facts.devices, facts.gpu_model, facts.compute_capability, sorted(facts.isa),
        sorted(facts.packages.items()),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()


def code_hash(places: Sequence[Path]) -> str:
    """sha256 of these Python files and of those in these folders and below them, in the order of their relative paths.

    The folder's own path is not part of it: the same code installed elsewhere has the same hash.
    """
    digest = hashlib.sha256()
    for place in places:
        found = [place] if place.is_file() else place.rglob("*.py")
        for path in sorted(found, key=lambda path: path.relative_to(place).as_posix()):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class ProbeCache:
    """What probes found in this environment; the file of another one is simply another file."""

    def __init__(self, facts: PlatformFacts) -> None:
        self._path = cache_root() / "probes" / f"{environment_hash(facts)[:32]}.json"

    def read(self, cells: Iterable[Cell]) -> dict[Cell, Probe]:
        """What is known of these cells. A cell whose entry is damaged is not known."""
        rows, found = read_json(self._path), {}
        for cell in cells:
            with contextlib.suppress(KeyError, TypeError, ValueError):  # not there, or not a probe's
                row = rows[_key(cell)]
                found[cell] = Probe(ProbeResult(row["result"]), str(row["detail"]))
        return found

    def add(self, cell: Cell, probe: Probe) -> None:
        """Remembers a result. A cache that cannot be written costs time at the next call, not correctness."""
        with contextlib.suppress(OSError):
            update_json(self._path, lambda rows: {**rows, _key(cell): asdict(probe)})


def _key(cell: Cell) -> str:
    """The cell and a hash of its recipe: a recipe that is done otherwise is another one to try."""
    known = recipes_of(cell.backend, cell.precision, cell.device)
    recipe = next((asdict(one) for one in known if one.name == cell.recipe), {})
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
    return "/".join((cell.backend, cell.precision, cell.device, cell.recipe, digest))


def to_probe(facts: PlatformFacts) -> list[CellReport]:
    """The cells that can be tried, whatever the rules say of them: that a cell fails confirms the rule against it.

    Where no recipe is built, a single matrix product can still be asked for in some float precisions.
    """
    return [
        report
        for report in matrix(facts)
        if report.code not in ("missing_package", "no_build")
        and (report.asked.recipe or _product_can_be_asked(report.asked))
    ]


def _product_can_be_asked(cell: Cell) -> bool:
    return cell.device == "cpu" and can_be_asked(cell.backend, cell.precision)


async def run_missing(
    facts: PlatformFacts, cells: Sequence[Cell], on_cell: Callable[[Cell, int, int], None]
) -> Mapping[Cell, Probe]:
    """All known results after the missing ones among `cells` were tried.

    `on_cell` is told which one begins, and how many of how many are done. A child that dies or hangs fails the cell
    it was at, and another child goes on with the next.
    """
    cache = ProbeCache(facts)
    known = cache.read(cells)
    missing = [cell for cell in cells if cell not in known]
    deadline_s = time.monotonic() + ALL_LIMIT_S

    def begin(cell: Cell) -> None:
        on_cell(cell, missing.index(cell), len(missing))

    waiting = missing
    while waiting and time.monotonic() < deadline_s:
        found, silent = await _probe_some(waiting, begin)
        for cell, probe in found.items():
            known[cell] = probe
            if cell != silent:
                cache.add(cell, probe)
        waiting = [cell for cell in waiting if cell not in found]
    return known


async def _probe_some(
    waiting: Sequence[Cell], on_cell: Callable[[Cell], None]
) -> tuple[dict[Cell, Probe], Cell | None]:
    """What one child found until it ended, and the cell at which it hung: that may have been the machine's load."""
    found: dict[Cell, Probe] = {}
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
                    found[current] = Probe(ProbeResult(line["result"]), line["detail"])
    except ChildLost as error:
        current = next(cell for cell in waiting if cell not in found)
        found[current] = Probe(ProbeResult.FAILED, str(error))
        return found, current if isinstance(error, ChildSilent) else None
    return found, None


def stored_probes(facts: PlatformFacts) -> Mapping[Cell, Probe]:
    """What is remembered of this machine's cells; nothing is run."""
    return ProbeCache(facts).read(report.asked for report in to_probe(facts))


def probe_this_machine(facts: PlatformFacts, on_cell: Callable[[Cell, int, int], None]) -> Mapping[Cell, Probe]:
    """Runs every missing probe. Blocks for up to ALL_LIMIT_S; at once when all are known."""
    return asyncio.run(run_missing(facts, [report.asked for report in to_probe(facts)], on_cell))
