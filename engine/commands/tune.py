"""`engine tune`: measures the serving plans of cells on this machine, and keeps them for later starts and switches."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from engine.artifacts.prepare import Progress, prepare
from engine.artifacts.store import ArtifactStore
from engine.backends.base import Cell
from engine.capabilities.platform import this_platform
from engine.capabilities.resolve import report_cells, resolve
from engine.capabilities.rules import CellState
from engine.errors import CannotSwitch, EngineError, InvalidRequest
from engine.exit_codes import ExitCode
from engine.host.machine import PlatformFacts
from engine.host.reporting import Reporter
from engine.models.resolve import ModelFiles, resolve_model
from engine.tuning.plan import PlanCache, ServingPlan
from engine.tuning.search import tune_in_child


class _CannotKeepPlan(EngineError):
    """The cache of plans cannot be written. The message has the measured plan, so that it is not lost."""

    fix = "make that folder writable, or set EMBEDCONSOLE_CACHE to a folder that is"

    def __init__(self, cell: Cell, plan: ServingPlan, cache: PlanCache, error: OSError) -> None:
        super().__init__(
            f"the plan of {cell} {cell.recipe} cannot be kept, {cache.path.parent} cannot be written "
            f"({error.strerror or error}); the plan is {plan}"
        )


def tune_cells(
    *, backend: str | None, precision: str, recipe: str, device: str, model: str, as_json: bool
) -> int:  # fmt: skip
    """Measures one cell, or without a backend every native cell; prints the plans. Returns the exit code."""
    reporter, facts = Reporter(), this_platform()
    try:
        if backend:
            cells = [_resolved(Cell(backend=backend, precision=precision, device=device, recipe=recipe), facts)]
        else:
            cells = _native_cells(facts)
        files = resolve_model(model or None)
        plans = asyncio.run(_measure(cells, files, facts, model, reporter))
    except InvalidRequest as error:
        reporter.error("usage", str(error))
        return ExitCode.USAGE
    except _CannotKeepPlan as error:
        reporter.error("failed", str(error), error.fix)
        return ExitCode.FAILED
    except (EngineError, OSError) as error:
        reporter.error("failed", str(error))
        return ExitCode.FAILED
    if as_json:
        rows = [{**asdict(cell), **asdict(plan)} for cell, plan in plans]
        print(json.dumps({"cores": facts.cores, "plans": rows}, indent=1), file=sys.stdout)
    else:
        print(as_text(plans), file=sys.stdout)
    return ExitCode.OK


async def _measure(
    cells: Sequence[Cell], files: ModelFiles, facts: PlatformFacts, model: str, reporter: Reporter
) -> list[tuple[Cell, ServingPlan]]:
    """Measures and keeps one plan after another: concurrent measurements would slow each other down."""
    store, cache = ArtifactStore.default(), PlanCache(facts)
    plans = []
    for cell in cells:
        name = f"{cell} {cell.recipe}"

        def report_preparation(progress: Progress, name: str = name) -> None:
            if progress.warning:
                reporter.log("warning", progress.warning)
            else:
                reporter.phase(progress.name, name, progress.done, progress.total)

        def report_measurement(done: int, total: int, name: str = name) -> None:
            reporter.phase("tune", name, done, total)

        artifact = await prepare(files, cell, store, report_preparation)
        plan = await tune_in_child(files, artifact, cell, facts.cores, report_measurement)
        try:
            cache.write(cell, model, plan)
        except OSError as error:
            raise _CannotKeepPlan(cell, plan, cache, error) from error
        plans.append((cell, plan))
    return plans


def _resolved(cell: Cell, facts: PlatformFacts) -> Cell:
    """Returns the cell with `auto` resolved. Raises CannotSwitch if it falls back."""
    requested, effective, notices = resolve(cell, facts, strict=False)
    if effective != requested:
        raise CannotSwitch(f"{requested} is not measured, because {effective} would run: {notices[0].message}")
    return effective


def _native_cells(facts: PlatformFacts) -> list[Cell]:
    return [report.asked for report in report_cells(facts) if report.state is CellState.NATIVE and report.asked.recipe]


def as_text(plans: Sequence[tuple[Cell, ServingPlan]]) -> str:
    """Returns the plans as a table for a terminal."""
    lines = [f"{'cell':<34}{'inst × thr':>10}{'tokens':>9}{'texts':>7}{'cost of a pass':>16}{'texts/s':>10}"]
    lines += [
        f"{f'{cell.backend} {cell.precision} {cell.recipe} {cell.device}':<34}"
        f"{f'{plan.instances} × {plan.threads}':>10}{plan.max_batch_tokens:>9,}{plan.max_batch_items:>7,}"
        f"{f'{plan.pass_cost_tokens:,} tokens':>16}{plan.texts_per_s:>10,.0f}"
        for cell, plan in plans
    ]
    return "\n".join([*lines, "", "texts/s: short texts of 16 tokens, without a server"])
