"""Targets, deployments and plans: what a user asks for, what runs, and how the one becomes the other."""

from dataclasses import dataclass
from enum import IntEnum

from engine.backends.base import Cell
from engine.capabilities.resolve import Notice
from engine.tuning.plan import ServingPlan, resolved_name


class SwitchState(IntEnum):
    """The states of a switch, in order. The numbers are those of the wire."""

    REQUESTED = 1
    PREPARING = 2
    LOADING = 3
    VERIFYING = 4
    CUT_OVER = 5
    DRAINING = 6
    RELEASED = 7


@dataclass(frozen=True, slots=True)
class Deployment:
    """The description of a deployment, as on the wire: its cell, its model, and its instances × threads."""

    backend: str
    precision: str
    recipe: str
    device: str
    model: str
    instances: int
    threads: int

    @classmethod
    def of(cls, cell: Cell, *, model: str, instances: int, threads: int) -> "Deployment":
        """Returns the deployment of a cell."""
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
    """What a user asks for. The engine chooses the fields that are empty, 0 or `auto`."""

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

    def filled_from(self, live: "Target", *, fresh: bool = False) -> "Target":
        """Returns this target with its empty fields taken from the target of the live deployment.

        The recipe is taken only if backend and precision stay the same, because it belongs to them. `fresh`: recipe,
        instances and threads are not taken. A live model keeps the name that it was first asked for by, so that another
        name of the same model is the same deployment.
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
    """A target with `auto`, fallbacks and the serving plan resolved."""

    target: Target
    requested: Deployment
    """The target with `auto` resolved."""
    effective: Deployment
    """What runs; differs from `requested` by the fallbacks in `notices`."""
    notices: tuple[Notice, ...]
    serving: ServingPlan
    """Its counts are those of `effective`."""
    strict: bool = False
    """Whether a fallback is an error."""


@dataclass(frozen=True, slots=True)
class SwitchStep:
    """One event of a switch."""

    state: SwitchState
    message: str
    progress: float
    """Share of the present state that is done, 0 to 1; 0 where it is not known."""
    plan: Plan
    epoch: int
    elapsed_s: float
