"""Runs one matrix product in a requested float precision and reads the effective precision of its kernel.

It confirms a capability rule on this machine for a precision without a recipe.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.errors import ModelError

_SIZE = 64
_ONNX_TYPES = {"fp16": "FLOAT16", "bf16": "BFLOAT16"}
_OPENVINO_TYPES = {"fp16": "f16", "bf16": "bf16"}
_PRECISIONS = {
    "float": "fp32", "float16": "fp16", "bfloat16": "bf16", "f32": "fp32", "f16": "fp16", "bf16": "bf16",
}  # fmt: skip


def product_precision(backend: str, precision: str) -> str:
    """Returns the effective precision of the kernel.

    Raises ModelError when there is no probe, and propagates what the runtime raises.
    """
    probe = _PROBES.get((backend, precision))
    if probe is None:
        raise ModelError(f"there is no probe of {backend} for {precision}")
    return probe(precision)


def can_probe(backend: str, precision: str) -> bool:
    """Returns whether product_precision() has a probe."""
    return (backend, precision) in _PROBES


def _onnx(precision: str) -> str:
    import onnx
    import onnxruntime

    kind = getattr(onnx.TensorProto, _ONNX_TYPES[precision])
    weights = onnx.helper.make_tensor("w", kind, [_SIZE, _SIZE], np.full(_SIZE * _SIZE, 0.5, np.float32))
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    casts = [
        onnx.helper.make_node("Cast", ["given"], ["x"], to=kind),
        node,
        onnx.helper.make_node("Cast", ["y"], ["out"], to=onnx.TensorProto.FLOAT),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, _SIZE]) for name in ("given", "out")]
    graph = onnx.helper.make_graph(casts, "product", ends[:1], ends[1:], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="embedconsole-") as folder:
        options.profile_file_prefix = str(Path(folder) / "product")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        session.run(None, {"given": np.ones((1, _SIZE), np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    kernels = (event["args"] for event in events if event.get("cat") == "Node" and "op_name" in event.get("args", {}))
    product = next(kernel for kernel in kernels if "MatMul" in kernel["op_name"] or "Gemm" in kernel["op_name"])
    dtype = str(next(iter(product["input_type_shape"][0])))
    return _PRECISIONS.get(dtype, dtype)


def _openvino(precision: str) -> str:
    import openvino
    from openvino import opset13

    given = opset13.parameter([1, _SIZE], np.float32)
    weights = opset13.constant(np.full((_SIZE, _SIZE), 0.5, np.float32))
    model = openvino.Model([opset13.matmul(given, weights, False, False)], [given], "product")
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": _OPENVINO_TYPES[precision]})
    compiled([np.ones((1, _SIZE), np.float32)])
    nodes = (node.get_rt_info() for node in compiled.get_runtime_model().get_ops())
    product = next(node for node in nodes if node["layerType"].astype(str) in ("FullyConnected", "MatMul"))
    dtype = str(product["runtimePrecision"].astype(str))
    return _PRECISIONS.get(dtype, dtype)


_PROBES: dict[tuple[str, str], Callable[[str], str]] = {
    ("onnx", "fp16"): _onnx, ("onnx", "bf16"): _onnx, ("openvino", "fp16"): _openvino, ("openvino", "bf16"): _openvino,
}  # fmt: skip
