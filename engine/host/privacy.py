"""Keeps the libraries that an engine loads from sending usage data."""

import os
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

NO_TELEMETRY = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: a device id, a database and look-ups of its collector
    "NNCF_CI": "1",  # NNCF: the switch that its own tests use
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface-hub and transformers: the user agent of their requests
    "DO_NOT_TRACK": "1",
}
"""What each library reads when it is imported."""


NO_MODULES = ("openvino_telemetry",)
"""Packages that only send usage data. OpenVINO reports each import through this one; without it, it reports nothing."""


def disable_telemetry(
    environment: MutableMapping[str, str] = os.environ,
    modules: "MutableMapping[str, ModuleType | None]" = sys.modules,  # type: ignore[assignment]  # None: no such module
) -> None:
    """Has to run before a runtime is imported.

    Overrides what the user set: nothing leaves the machine that was not asked for.
    """
    environment.update(NO_TELEMETRY)
    for name in NO_MODULES:
        modules.setdefault(name, None)
