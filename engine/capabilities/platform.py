"""Platform facts for the rules: the machine, and the versions of every package that a recipe needs."""

from engine.backends.recipes import RECIPES
from engine.host.machine import PlatformFacts, assumed_machine, machine_facts

_RUNTIMES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf")
RUNTIME_PACKAGES = tuple(dict.fromkeys([*_RUNTIMES, *(name for recipe in RECIPES for name in recipe.needs)]))


def this_platform() -> PlatformFacts:
    """Returns the facts of this machine."""
    return machine_facts(RUNTIME_PACKAGES)


def named_platform(name: str) -> PlatformFacts:
    """Returns a platform of `PLATFORM_NAMES` with every runtime installed that exists for it. Raises KeyError."""
    return assumed_machine(name, RUNTIME_PACKAGES)
