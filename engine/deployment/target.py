"""What is asked for and what comes of it: targets, deployments, and the plan that turns one into the other."""

from dataclasses import dataclass
from enum import IntEnum

from engine.backends.base import Cell
from engine.capabilities.resolve import Notice
from engine.tuning.plan import ServingPlan, resolved_name


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

    @classmethod
    def of(cls, cell: Cell, *, model: str, instances: int, threads: int) -> "Deployment":
        """The deployment of a cell."""
        return cls(
            backend=cell.backend, precision=cell.precision, recipe=cell.recipe, device=cell.device, model=model,
            instances=instances, threads=threads,
        )  # fmt: skip

    @property
    def cell(self) -> Cell:
        """The cell that it runs."""
        return Cell(backend=self.backend, precision=self.precision, device=self.device, recipe=self.recipe)


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

    @property
    def cell(self) -> Cell:
        """The cell that is asked for; its fields may be empty or `auto`."""
        return Cell(backend=self.backend, precision=self.precision, device=self.device, recipe=self.recipe)

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
