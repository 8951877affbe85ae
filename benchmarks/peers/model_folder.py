"""The model in the layout of infinity: a folder with `model.onnx` at its root, exported by infinity's libraries."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.environments import HOME, python_of
from engine.models.resolve import resolve_model

EXPORTER = "infinity-onnx"
"""The environment that exports the model."""


def model_folder(print_progress: Callable[[str], None]) -> Path:
    """Returns the folder; exports the model if it is missing or has other weights.

    The graph is fp32 and returns the `last_hidden_state` of the transformer; infinity pools and normalises. Raises
    RuntimeError with the output of the exporter.
    """
    files = resolve_model(None)
    folder = HOME / f"model-{files.fingerprint[:12]}"
    if (folder / "model.onnx").exists():
        return folder
    print_progress("exporting the model to ONNX with infinity's own libraries: half a minute, once")
    building = HOME / "model-building"
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(files.path, building / "model")
    command = [
        str(python_of(EXPORTER).with_name("optimum-cli")), "export", "onnx", "--model", str(building / "model"),
        "--task", "feature-extraction", "--library", "transformers", str(building / "exported"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the model cannot be exported for infinity: {done.stderr[-1500:]}")
    (building / "exported" / "model.onnx").rename(building / "model" / "model.onnx")
    (building / "model").rename(folder)
    shutil.rmtree(building)
    return folder
