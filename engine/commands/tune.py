"""`engine tune`: measures how cells use this machine best, and remembers it for every start and switch."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from engine.artifacts.prepare import Progress, prepare
from engine.artifacts.store import ArtifactStore
from engine.backends.base import Cell
from engine.capabilities.platform import this_platform
from engine.capabilities.resolve import matrix, resolve
from engine.capabilities.rules import CellState
from engine.errors import CannotSwitch, EngineError, InvalidRequest
from engine.exit_codes import ExitCode
from engine.host.machine import PlatformFacts
from engine.host.reporting import Reporter
from engine.models.resolve import ModelFiles, resolve_model
from engine.tuning.plan import PlanCache, ServingPlan
from engine.tuning.search import tune_in_child


def tune_cells(
    *, backend: str | None, precision: str, recipe: str, device: str, model: str, as_json: bool
) -> int:  # fmt: skip
    """Measures one cell, or without a backend every native one of this machine; prints the plans; the exit code."""
    reporter, facts = Reporter(), this_platform()
    try:
        if backend:
            cells = [_asked(Cell(backend=backend, precision=precision, device=device, recipe=recipe), facts)]
        else:
            cells = _native(facts)
        files = resolve_model(model or None)
        plans = asyncio.run(_measure(cells, files, facts, model, reporter))
    except InvalidRequest as error:
        reporter.error("usage", str(error))
        return ExitCode.USAGE
    except (EngineError, OSError) as error:
        reporter.error("failed", str(error))
        return ExitCode.FAILED
    if as_json:
        rows = [{**asdict(cell), **asdict(plan)} for cell, plan in plans]
        print(json.dumps({"cores": facts.cores, "plans": rows}, indent=1), file=sys.stdout)
    else:
        print(as_text(plans), file=sys.stdout)
    return 0


async def _measure(
    cells: Sequence[Cell], files: ModelFiles, facts: PlatformFacts, model: str, reporter: Reporter
) -> list[tuple[Cell, ServingPlan]]:
    """One after another: two at a time would measure each other."""
    store, cache = ArtifactStore.default(), PlanCache(facts)
    found = []
    for cell in cells:
        name = f"{cell} {cell.recipe}"

        def prepared(progress: Progress, name: str = name) -> None:
            if progress.warning:
                reporter.log("warning", progress.warning)
            else:
                reporter.phase(progress.name, name, progress.done, progress.total)

        def measured(done: int, total: int, name: str = name) -> None:
            reporter.phase("tune", name, done, total)

        artifact = await prepare(files, cell, store, prepared)
        plan = await tune_in_child(files, artifact, cell, facts.cores, measured)
        cache.write(cell, model, plan)
        found.append((cell, plan))
    return found


def _asked(cell: Cell, facts: PlatformFacts) -> Cell:
    requested, effective, notices = resolve(cell, facts, strict=False)
    if effective != requested:
        raise CannotSwitch(f"{requested} is not measured, it would not be what runs: {notices[0].message}")
    return effective


def _native(facts: PlatformFacts) -> list[Cell]:
    return [report.asked for report in matrix(facts) if report.state is CellState.NATIVE and report.asked.recipe]


def as_text(plans: Sequence[tuple[Cell, ServingPlan]]) -> str:
    """For a person at a terminal."""
    lines = [f"{'cell':<34}{'inst × thr':>10}{'tokens':>9}{'texts':>7}{'a pass costs':>15}{'texts/s':>10}"]
    lines += [
        f"{f'{cell.backend} {cell.precision} {cell.recipe} {cell.device}':<34}"
        f"{f'{plan.instances} × {plan.threads}':>10}{plan.max_batch_tokens:>9,}{plan.max_batch_items:>7,}"
        f"{f'{plan.pass_cost_tokens:,} tokens':>15}{plan.texts_per_s:>10,.0f}"
        for cell, plan in plans
    ]
    return "\n".join([*lines, "", "texts/s: short texts of 16 tokens, without a server"])
