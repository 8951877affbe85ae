"""The backends by name. A runtime is imported when its backend is first requested."""

import importlib
from typing import cast

from engine.backends.base import Backend, Cell, LoadedModel
from engine.errors import ModelError
from engine.host.privacy import disable_telemetry

__all__ = ["Backend", "Cell", "LoadedModel", "backend"]

disable_telemetry()  # at import: every module that imports a runtime lies below this package, and so comes later

_NEEDS = {
    "onnx": ("onnxruntime", "embedconsole"),
    "openvino": ("openvino", "embedconsole[openvino]"),
    "torch": ("torch", "embedconsole[torch]"),
}
"""(package of the runtime, requirement to pip install) by backend."""


def backend(name: str) -> Backend:
    """Returns a backend. Importing its runtime may take seconds.

    Raises ModelError when the backend is unknown or its runtime is not installed.
    """
    if name not in _NEEDS:
        raise ModelError(f"there is no backend {name!r}: choose one of {', '.join(sorted(_NEEDS))}")
    package, requirement = _NEEDS[name]
    try:
        module = importlib.import_module(f"engine.backends.{name}.runtime")
    except ImportError as error:
        missing = error.name or package
        raise ModelError(f"backend {name} needs {missing}: pip install '{requirement}'") from error
    return cast("Backend", module.BACKEND)
