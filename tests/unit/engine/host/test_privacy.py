"""No library that the engine loads sends usage data, or writes what it would send."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.host.privacy import NO_TELEMETRY, disable_telemetry

LOAD = """
import os, sys
from engine.backends import backend
backend(sys.argv[1])
{more}
"""
A_SESSION = """
import onnx, onnxruntime
from onnx import TensorProto, helper
value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
"""
NNCF = """
import nncf
from nncf.telemetry.wrapper import NNCFTelemetryStub, telemetry
assert isinstance(telemetry, NNCFTelemetryStub), telemetry
"""


@pytest.mark.parametrize(("runtime", "more"), [("onnx", A_SESSION), ("openvino", NNCF)], ids=["ONNX Runtime", "NNCF"])
def test_a_loaded_runtime_keeps_no_device_id_and_sends_nothing(runtime: str, more: str, tmp_path: Path) -> None:
    folders = {name: str(tmp_path / name) for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HOME", "TMPDIR")}
    for folder in folders.values():
        Path(folder).mkdir()
    outside = {name: value for name, value in os.environ.items() if name not in NO_TELEMETRY}
    subprocess.run(
        [sys.executable, "-c", LOAD.format(more=more), runtime],
        env={**outside, **folders}, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    written = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert written == []


def test_the_user_s_own_setting_does_not_turn_it_on_again() -> None:
    environment = {"ORT_DISABLE_TELEMETRY": "0", "PATH": "/bin"}
    disable_telemetry(environment, {})
    assert environment == {"PATH": "/bin", **NO_TELEMETRY}
