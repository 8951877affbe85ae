"""Converts the plain ONNX graph to OpenVINO's files: fp32, static int8, int8 weights, or 4-bit weights."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import openvino

from engine.backends.base import Cell
from engine.backends.layout.packing import layout_of
from engine.host.isa import int8_products_saturate
from engine.scheduling.contract import TokenIds

MODEL_FILE = "openvino.xml"
_SMOOTH_ALPHA = 0.8
"""Measured on all-MiniLM-L6-v2: 0.65 and 0.95 give lower cosines, and no smoothing gives the lowest."""
_INT4_BLOCK = 32
"""Weights per scale. NNCF uses a smaller block for a layer whose width is not a multiple of it."""


def derive_openvino(prepared: Cell, plain: Path, folder: Path, calibration: Sequence[TokenIds]) -> None:
    """Writes the model that the backend loads to `folder`. Raises ImportError when nncf is required but missing."""
    model = openvino.Core().read_model(plain)
    if prepared.precision != "fp32":
        with contextlib.redirect_stdout(sys.stderr):  # nncf draws progress bars
            model = _quantised(model, prepared, calibration)
    openvino.save_model(model, folder / MODEL_FILE, compress_to_fp16=False)


def _quantised(model: openvino.Model, prepared: Cell, calibration: Sequence[TokenIds]) -> openvino.Model:
    if prepared.precision == "int8" and calibration:
        return _static_int8(model, calibration)
    import nncf

    if prepared.precision == "int8":
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    mode = {"nf4": nncf.CompressWeightsMode.NF4, "int4": nncf.CompressWeightsMode.INT4_ASYM}[prepared.recipe]
    adjust = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
    return nncf.compress_weights(model, mode=mode, ratio=1.0, group_size=_INT4_BLOCK, advanced_parameters=adjust)


def _static_int8(model: openvino.Model, calibration: Sequence[TokenIds]) -> openvino.Model:
    """Quantises weights per channel and activations with ranges from `calibration`, after smoothing outliers.

    MIXED uses symmetric weights and asymmetric activations, which are as fast and suit outputs of activation functions.
    """
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
        OverflowFix,
    )

    layout = layout_of([one.any_name for one in model.inputs], 0)

    def inputs(text: TokenIds) -> Mapping[str, Any]:
        (only,) = layout([text])
        return only.inputs

    saturates = int8_products_saturate()
    return nncf.quantize(
        model,
        nncf.Dataset(calibration, inputs),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(calibration),
        fast_bias_correction=True,
        advanced_parameters=AdvancedQuantizationParameters(
            smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=_SMOOTH_ALPHA),
            overflow_fix=OverflowFix.ENABLE if saturates else OverflowFix.DISABLE,
        ),
        ignored_scope=nncf.IgnoredScope(names=_imprecise_in_seven_bits(model) if saturates else _pooling(model)),
    )


def _pooling(model: openvino.Model) -> list[str]:
    """Returns the names of the MatMuls that pool packed rows: three axes, no weights. They are small and stay fp32."""
    return [
        op.get_friendly_name()
        for op in model.get_ops()
        if op.get_type_name() == "MatMul"
        and all(side.get_partial_shape().rank.get_length() == 3 for side in op.inputs())
        and all(side.get_source_output().get_node().get_type_name() != "Constant" for side in op.inputs())
    ]


def _imprecise_in_seven_bits(model: openvino.Model) -> list[str]:
    """Returns the names of the MatMuls that stay fp32 where weights have only seven bits.

    These are attention's, and layers with fewer outputs than inputs. Such a layer (the second one of a feed-forward
    block) reads the output of an activation function, which quantises worst. Measured on all-MiniLM-L6-v2 without VNNI:
    cosines of 0.9985 (p1 0.9973) instead of 0.9971 (0.9948), and 0.89 times the speed of fp32 instead of 0.73 times,
    because int8 is not faster there.
    """
    return [op.get_friendly_name() for op in model.get_ops() if op.get_type_name() == "MatMul" and not _widens(op)]


def _widens(matmul: Any) -> bool:
    """Returns whether the MatMul has weights with at least as many outputs as inputs."""
    weights = matmul.input(1).get_partial_shape()
    if weights.is_dynamic or len(weights) != 2:  # an activation, not weights
        return False
    inputs, outputs = weights.to_shape()
    if matmul.get_attributes()["transpose_b"]:
        inputs, outputs = outputs, inputs
    return bool(outputs >= inputs)
