"""The recipes that are built: each names one way to reach a precision on a device. Data only, no runtimes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to reach a precision. Of a cell's recipes exactly one is the default."""

    backend: str
    precision: str
    name: str
    default: bool
    device: str
    """cpu, cuda or mps: the kind of device, without a number."""
    calibrated: bool
    """Its artifact depends on the texts it was calibrated with."""
    needs: tuple[str, ...]
    """Distributions that preparing or loading needs beyond the backend's own runtime."""
    note: str
    """What it does, in words."""


def _recipe(
    cell: str, name: str, note: str, *, other: bool = False, calibrated: bool = False, needs: tuple[str, ...] = ()
) -> Recipe:
    backend, precision, device = cell.split()
    return Recipe(backend, precision, name, not other, device, calibrated, needs, note)


RECIPES: tuple[Recipe, ...] = (
    _recipe("torch fp32 cpu", "plain", "the weights as they are"),
    _recipe("onnx fp32 cpu", "plain", "the exported graph, unfused"),
)


def recipe_for(backend: str, precision: str, device: str, name: str = "") -> Recipe | None:
    """The recipe of that name, or the default one without a name; None when nothing like it is built.

    `device` may carry a number: `cuda:1`.
    """
    found = recipes_of(backend, precision, device)
    return next((one for one in found if one.name == name or (one.default and not name)), None)


def recipes_of(backend: str, precision: str, device: str) -> tuple[Recipe, ...]:
    """All recipes of a cell, the default one first."""
    kind = device.partition(":")[0]
    found = [one for one in RECIPES if (one.backend, one.precision, one.device) == (backend, precision, kind)]
    return tuple(sorted(found, key=lambda one: not one.default))
