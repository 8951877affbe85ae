"""The recipes: each is a way to reach a precision on a device. Data only; no runtime is imported."""

from dataclasses import dataclass

from engine.backends.base import Cell
from engine.errors import ModelError


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to reach a precision. Exactly one recipe of a cell is the default."""

    backend: str
    precision: str
    name: str
    default: bool
    device: str
    """The type of device, without an index: cpu, cuda or mps."""
    calibrated: bool
    """Whether the artifact depends on calibration texts."""
    needs: tuple[str, ...]
    """Distributions that preparing or loading needs in addition to the runtime of the backend."""
    note: str
    """A description for the user."""


def _recipe(
    cell: str, name: str, note: str, *, other: bool = False, calibrated: bool = False, needs: tuple[str, ...] = ()
) -> Recipe:
    backend, precision, device = cell.split()
    return Recipe(backend, precision, name, not other, device, calibrated, needs, note)


RECIPES: tuple[Recipe, ...] = (
    _recipe("torch fp32 cpu", "plain", "the weights as they are, products through oneDNN on x86"),
    _recipe("torch fp32 cpu", "eager", "the module as transformers built it: a baseline", other=True),
    _recipe("torch bf16 cpu", "cast", "weights and activations in bf16, through oneDNN on x86, the norm in fp32"),
    _recipe("torch bf16 cpu", "eager", "the module as transformers built it, cast to bf16: a baseline", other=True),
    _recipe("torch fp16 cpu", "cast", "all weights and activations in fp16, the norm in fp32"),
    _recipe(
        "torch int8 cpu", "smoothed", "torch's dynamic int8 per channel, activations smoothed", calibrated=True
    ),
    _recipe("torch int8 cpu", "dynamic", "torch's dynamic int8 per channel", other=True),
    _recipe(
        "torch int8 cpu", "torchao", "int8 with a scale per token; without VNNI tens of times slower than fp32",
        other=True, needs=("torchao",),
    ),
    _recipe(
        "torch int4 cpu", "nf4", "4-bit normal floats in blocks of 64, computed in fp32: memory rather than speed",
        needs=("bitsandbytes",),
    ),
    _recipe("torch fp32 cuda", "plain", "the weights as they are, products in fp32"),
    _recipe("torch tf32 cuda", "plain", "the weights as they are, products rounded to tf32"),
    _recipe("torch bf16 cuda", "cast", "all weights and activations in bf16, the norm in fp32"),
    _recipe("torch fp16 cuda", "cast", "all weights and activations in fp16, the norm in fp32"),
    _recipe("torch int8 cuda", "torchao", "int8 with a scale per token, the rest bf16", needs=("torchao",)),
    _recipe(
        "torch int4 cuda", "nf4", "4-bit normal floats in blocks of 64, computed in bf16", needs=("bitsandbytes",)
    ),
    _recipe("torch fp8 cuda", "torchao", "e4m3 floats with a scale per tensor, the rest bf16", needs=("torchao",)),
    _recipe("torch fp32 mps", "plain", "the weights as they are, one thread at a time"),
    _recipe("torch fp16 mps", "cast", "all weights and activations in fp16, one thread at a time"),
    _recipe("onnx fp32 cpu", "plain", "the exported graph, unfused"),
    _recipe(
        "onnx int8 cpu", "smoothed", "int8 weights per channel, activations smoothed and quantised as they come",
        calibrated=True,
    ),
    _recipe("onnx int8 cpu", "dynamic", "int8 weights per channel, activations quantised as they come", other=True),
    _recipe("onnx int4 cpu", "blocks", "4-bit weights in blocks of 32, computed in fp32: memory rather than speed"),
    _recipe("onnx fp32 mps", "plain", "the exported graph through CoreML"),
    _recipe("openvino fp32 cpu", "plain", "the exported graph, fp32 pinned"),
    _recipe("openvino bf16 cpu", "cast", "the exported graph, bf16 pinned: where the processor has it"),
    _recipe(
        "openvino int8 cpu", "static", "int8 weights and activations, ranges learnt and smoothed on prose",
        calibrated=True, needs=("nncf",),
    ),
    _recipe(
        "openvino int8 cpu", "weights", "int8 weights computed in fp32: memory and fidelity rather than speed",
        other=True, needs=("nncf",),
    ),
    _recipe(
        "openvino int4 cpu", "nf4", "4-bit normal floats in blocks of 32, computed in fp32: memory rather than speed",
        needs=("nncf",),
    ),
    _recipe(
        "openvino int4 cpu", "int4", "4-bit integers in blocks of 32, computed in fp32", other=True, needs=("nncf",)
    ),
)  # fmt: skip
"""If a cell has several recipes, the default is the one with the highest fidelity among those about as fast as the
fastest, measured by benchmarks/cells_raw.py."""


def recipe_for(backend: str, precision: str, device: str, name: str = "") -> Recipe | None:
    """Returns the recipe of that name, or the default one without a name; None if there is none.

    `device` may have an index: `cuda:1`.
    """
    recipes = recipes_of(backend, precision, device)
    return next((one for one in recipes if one.name == name or (one.default and not name)), None)


def recipes_of(backend: str, precision: str, device: str) -> tuple[Recipe, ...]:
    """Returns all recipes of a cell, the default one first."""
    kind = device.partition(":")[0]
    recipes = [one for one in RECIPES if (one.backend, one.precision, one.device) == (backend, precision, kind)]
    return tuple(sorted(recipes, key=lambda one: not one.default))


def recipe_of(cell: Cell) -> Recipe:
    """Returns the recipe of a cell; the default one if its name is empty. Raises ModelError when it does not exist."""
    recipe = recipe_for(cell.backend, cell.precision, cell.device, cell.recipe)
    if recipe is None:
        names = ", ".join(one.name for one in recipes_of(cell.backend, cell.precision, cell.device))
        raise ModelError(
            f"there is no recipe {cell.recipe!r} for {cell.backend} {cell.precision} on {cell.device}: "
            f"choose {names or 'another precision'}"
        )
    return recipe


def prepared_as(cell: Cell) -> Cell:
    """Returns the cell whose artifact this one loads. Recipes that convert while loading share the plain artifact."""
    recipe = recipe_of(cell)
    converts_while_loading = cell.backend == "torch" and not recipe.calibrated
    if converts_while_loading or recipe.name in ("plain", "cast"):
        return Cell(backend=cell.backend, precision="fp32", recipe="plain", device="cpu")
    return Cell(backend=cell.backend, precision=cell.precision, recipe=recipe.name, device="cpu")
