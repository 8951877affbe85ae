"""The planner: turns a target into a plan."""

from engine.backends.base import Cell
from engine.capabilities.resolve import report_cell, resolve
from engine.capabilities.rules import CellState
from engine.deployment.target import Deployment, Plan, Target
from engine.errors import InvalidRequest
from engine.host.machine import PlatformFacts
from engine.tuning.plan import PlanCache, ServingPlan

MAX_INSTANCES = 64
"""Instances that a user may ask for."""
MAX_THREADS = 256
"""Threads per instance that a user may ask for."""


class Planner:
    """Resolves `auto` and fallbacks, and chooses instances and threads."""

    def __init__(self, facts: PlatformFacts) -> None:
        self._facts = facts
        self._plans = PlanCache(facts)

    def plan(self, target: Target, *, strict: bool) -> Plan:
        """Returns the plan of a target. Raises InvalidRequest or CannotSwitch."""
        if target.instances > MAX_INSTANCES or target.threads > MAX_THREADS:
            raise InvalidRequest(f"at most {MAX_INSTANCES} instances of at most {MAX_THREADS} threads: ask for fewer")
        requested, effective, notices = resolve(target.cell, self._facts, strict=strict)
        cores = self._facts.cores if effective.device == "cpu" else 1
        serving = self._plans.plan(effective, target.model).with_counts(target.instances, target.threads, cores)

        def deployment(cell: Cell) -> Deployment:
            return Deployment.of(cell, model=target.model, instances=serving.instances, threads=serving.threads)

        return Plan(target, deployment(requested), deployment(effective), notices, serving, strict)

    def should_tune(self, plan: Plan) -> bool:
        """Whether a start measures the cell: not if it was measured, if the user set the counts, or if it is slow.

        A slow cell would take minutes.
        """
        fixed = plan.target.instances or plan.target.threads
        report = report_cell(plan.effective.cell, self._facts)
        return not (plan.serving.measured or fixed) and report.state is CellState.NATIVE

    def save(self, cell: Cell, model: str, measured: ServingPlan) -> None:
        """Keeps a measured plan for later starts and switches. Raises OSError when the cache cannot be written."""
        self._plans.write(cell, model, measured)
