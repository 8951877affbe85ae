"""Quantises the plain ONNX graph: int8, with smoothed activations or not, and int4 in blocks.

Runs in the preparation process.
"""

import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from engine.backends.layout.packing import layout_of
from engine.backends.smoothing import smoothing_scale, worth_smoothing
from engine.host.isa import int8_products_saturate
from engine.scheduling.contract import TokenIds

INT4_BLOCK = 32
_MAX_MESSAGE_BYTES = 1_500_000_000
"""Larger weights are stored in a separate file, because a protobuf message is limited to 2 GiB."""


def quantize_int8(plain: Path, target: Path, calibration: Sequence[TokenIds]) -> None:
    """Writes `plain` to `target` with int8 weights per channel and dynamically quantised activations.

    With `calibration` the activations are smoothed first. Embeddings are not quantised: a lookup takes no time, and
    int8 would lower the fidelity.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    smoothed = _smoothed(plain, calibration) if calibration else onnx.load(plain)
    with _quiet():
        quantize_dynamic(
            smoothed,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,  # unsigned weights use a slower kernel
            reduce_range=int8_products_saturate(),
            use_external_data_format=plain.stat().st_size > _MAX_MESSAGE_BYTES,
        )


def quantize_int4(plain: Path, target: Path) -> None:
    """Writes `plain` to `target` with 4-bit weight matrices, one scale per block of 32."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    with _quiet():
        quantizer = MatMulNBitsQuantizer(onnx.load(plain), block_size=INT4_BLOCK, is_symmetric=False)
        quantizer.process()
        quantizer.model.save_model_to_file(str(target), plain.stat().st_size > _MAX_MESSAGE_BYTES)


def _smoothed(plain: Path, calibration: Sequence[TokenIds]) -> onnx.ModelProto:
    """Returns the graph with a multiplication before each weight matrix, compensated in the weights."""
    model = onnx.load(plain)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[str, list[Any]] = defaultdict(list)  # by their input activation
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            rows, columns = weights[node.input[1]].dims
            if worth_smoothing(rows, columns):
                readers[node.input[0]].append(node)
    largest = _largest_magnitudes(model, list(readers), calibration)
    for activation, nodes in readers.items():
        matrices = [numpy_helper.to_array(weights[node.input[1]]) for node in nodes]
        scale = smoothing_scale(
            largest[activation], np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
        )
        scaled, factor = f"{activation}_smoothed", f"{activation}_smoothing"
        model.graph.initializer.append(numpy_helper.from_array(1 / scale, factor))
        for node, matrix in zip(nodes, matrices, strict=True):
            name = f"{node.input[1]}_smoothed"
            model.graph.initializer.append(numpy_helper.from_array(matrix * scale[:, None], name))
            node.input[0], node.input[1] = scaled, name
        first = min(index for index, node in enumerate(model.graph.node) if scaled in node.input)
        model.graph.node.insert(first, helper.make_node("Mul", [activation, factor], [scaled], f"smooth_{activation}"))
    _drop_unused_weights(model)
    return model


def _largest_magnitudes(
    model: onnx.ModelProto, activations: Sequence[str], calibration: Sequence[TokenIds]
) -> dict[str, NDArray[np.float32]]:
    """Returns the largest magnitudes, (channels,) float32, of each activation over all calibration texts.

    The texts run one by one, so that no padding contributes.
    """
    instrumented = onnx.ModelProto()
    instrumented.CopyFrom(model)
    outputs_info = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in activations)
    instrumented.graph.output.extend(outputs_info)
    session = onnxruntime.InferenceSession(instrumented.SerializeToString(), providers=["CPUExecutionProvider"])
    largest: dict[str, NDArray[np.float32]] = {}
    layout = layout_of([one.name for one in session.get_inputs()], 0)
    for text in calibration:
        (only,) = layout([text])
        outputs = session.run(activations, only.inputs)
        for name, values in zip(activations, outputs, strict=True):
            magnitudes = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, magnitudes), magnitudes)
    return largest


def _drop_unused_weights(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses warnings and the advice that the quantisers write to the root logger."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
