"""Turns a target into a plan: resolves `auto` and fallbacks, and chooses instances and threads."""

from engine.backends.base import Cell
from engine.capabilities.resolve import report_cell, resolve
from engine.capabilities.rules import CellState
from engine.deployment.target import Deployment, Plan, Target
from engine.errors import InvalidRequest
from engine.host.machine import PlatformFacts
from engine.tuning.plan import PlanCache, ServingPlan, asked_for

MAX_INSTANCES = 64

MAX_THREADS = 256


class Planner:
    """Decides `auto`, fallbacks and how the machine is used."""

    def __init__(self, facts: PlatformFacts) -> None:
        self._facts = facts
        self._measured = PlanCache(facts)

    def plan(self, asked: Target, *, strict: bool) -> Plan:
        """Raises InvalidRequest or CannotSwitch."""
        if asked.instances > MAX_INSTANCES or asked.threads > MAX_THREADS:
            raise InvalidRequest(f"at most {MAX_INSTANCES} instances of at most {MAX_THREADS} threads: ask for fewer")
        requested, effective, notices = resolve(asked.cell, self._facts, strict=strict)
        cores = self._facts.cores if effective.device == "cpu" else 1
        serving = asked_for(self._measured.plan(effective, asked.model), asked.instances, asked.threads, cores)

        def deployment(cell: Cell) -> Deployment:
            return Deployment.of(cell, model=asked.model, instances=serving.instances, threads=serving.threads)

        return Plan(asked, deployment(requested), deployment(effective), notices, serving, strict)

    def is_worth_measuring(self, plan: Plan) -> bool:
        """Not where the user fixed the counts, nor where a cell is so slow that the sweep would take minutes."""
        fixed = plan.asked.instances or plan.asked.threads
        report = report_cell(plan.effective.cell, self._facts)
        return not (plan.serving.measured or fixed) and report.state is CellState.NATIVE

    def remember(self, cell: Cell, model: str, measured: ServingPlan) -> None:
        """A measured plan, for every start and switch to come. Raises OSError when the cache cannot be written."""
        self._measured.write(cell, model, measured)
