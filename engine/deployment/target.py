"""What is asked for and what comes of it: targets, deployments, and the plan that turns one into the other."""

from dataclasses import dataclass
from enum import IntEnum

from engine.capabilities import Choice, Notice, report_cell, resolve
from engine.errors import InvalidRequest
from engine.machine import PlatformFacts
from engine.plans import PlanCache, ServingPlan, asked_for, resolved_name
from engine.rules import CellState

MAX_INSTANCES = 64
MAX_THREADS = 256


class SwitchState(IntEnum):
    """The states of a switch, in order; the numbers are the wire's."""

    REQUESTED = 1
    PREPARING = 2
    LOADING = 3
    VERIFYING = 4
    CUT_OVER = 5
    DRAINING = 6
    RELEASED = 7


@dataclass(frozen=True, slots=True)
class Deployment:
    """backend + precision + recipe + device + instances + threads + model."""

    backend: str
    precision: str
    recipe: str
    device: str
    model: str
    instances: int
    threads: int


@dataclass(frozen=True, slots=True)
class Target:
    """What somebody asks for. Empty, 0 or `auto`: the engine chooses."""

    backend: str = ""
    precision: str = ""
    recipe: str = ""
    device: str = ""
    model: str = ""
    instances: int = 0
    threads: int = 0

    def over(self, live: "Target", *, fresh: bool = False) -> "Target":
        """This target, with its empty fields kept from what was asked for before.

        A recipe belongs to its backend and precision: it is kept only while both are. `fresh`: recipe, instances and
        threads are not kept. The live model keeps the name it was first asked for by, whatever it is called now: it is
        the same deployment.
        """
        same_model = resolved_name(self.model) == resolved_name(live.model)
        same_cell = not fresh and self.backend in ("", live.backend) and self.precision in ("", live.precision)
        return Target(
            backend=self.backend or live.backend,
            precision=self.precision or live.precision,
            recipe=self.recipe or (live.recipe if same_cell else ""),
            device=self.device or live.device,
            model=live.model if not self.model or same_model else self.model,
            instances=self.instances or (0 if fresh else live.instances),
            threads=self.threads or (0 if fresh else live.threads),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A target after `auto` and fallbacks have been decided."""

    asked: Target
    requested: Deployment
    effective: Deployment
    notices: tuple[Notice, ...]
    serving: ServingPlan
    """Its counts are those of `effective`."""
    strict: bool = False


@dataclass(frozen=True, slots=True)
class SwitchStep:
    """One event of a switch."""

    state: SwitchState
    message: str
    progress: float
    plan: Plan
    epoch: int
    elapsed_s: float


class Planner:
    """Decides `auto`, fallbacks and how the machine is used."""

    def __init__(self, facts: PlatformFacts) -> None:
        self._facts = facts
        self._measured = PlanCache(facts)

    def plan(self, asked: Target, *, strict: bool) -> Plan:
        """Raises InvalidRequest or CannotSwitch."""
        if asked.instances > MAX_INSTANCES or asked.threads > MAX_THREADS:
            raise InvalidRequest(f"at most {MAX_INSTANCES} instances of at most {MAX_THREADS} threads: ask for fewer")
        choice = Choice(asked.backend, asked.precision, asked.device, asked.recipe)
        requested, effective, notices = resolve(choice, self._facts, strict=strict)
        cores = self._facts.cores if effective.device == "cpu" else 1
        serving = asked_for(self._measured.plan(effective, asked.model), asked.instances, asked.threads, cores)

        def deployment(choice: Choice) -> Deployment:
            return Deployment(
                choice.backend, choice.precision, choice.recipe, choice.device, asked.model,
                instances=serving.instances, threads=serving.threads,
            )  # fmt: skip

        return Plan(asked, deployment(requested), deployment(effective), notices, serving, strict)

    def is_worth_measuring(self, plan: Plan) -> bool:
        """Not where the user fixed the counts, nor where a cell is so slow that the sweep would take minutes."""
        fixed = plan.asked.instances or plan.asked.threads
        runs = plan.effective
        report = report_cell(Choice(runs.backend, runs.precision, runs.device, runs.recipe), self._facts)
        return not (plan.serving.measured or fixed) and report.state is CellState.NATIVE

    def remember(self, of: Deployment, model: str, measured: ServingPlan) -> None:
        """A measured plan, for every start and switch to come. Raises OSError when the cache cannot be written."""
        self._measured.write(Choice(of.backend, of.precision, of.device, of.recipe), model, measured)
