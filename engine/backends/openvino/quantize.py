"""The plain ONNX graph as OpenVINO's files: as it is, static int8 calibrated on prose, or 4-bit weights."""

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
"""Measured on all-MiniLM-L6-v2: 0.65 and 0.95 give lower cosines, without smoothing it is lower still."""
_INT4_BLOCK = 32
"""Smaller for a layer whose width it does not divide."""


def derive_openvino(prepared: Cell, plain: Path, folder: Path, calibration: Sequence[TokenIds]) -> None:
    """Writes the model that the backend loads to `folder`. Raises ImportError when nncf is needed and missing."""
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
    """Weights per channel and activations with ranges learnt from `calibration`, outliers smoothed away.

    MIXED: symmetric weights, asymmetric activations, which cost nothing and suit what leaves an activation function.
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
        ignored_scope=nncf.IgnoredScope(names=_costly_in_seven_bits(model) if saturates else _pooling(model)),
    )


def _pooling(model: openvino.Model) -> list[str]:
    """The products of three axes and no weights: pooling of packed rows, which is small and shall stay exact."""
    return [
        op.get_friendly_name()
        for op in model.get_ops()
        if op.get_type_name() == "MatMul"
        and all(side.get_partial_shape().rank.get_length() == 3 for side in op.inputs())
        and all(side.get_source_output().get_node().get_type_name() != "Constant" for side in op.inputs())
    ]


def _costly_in_seven_bits(model: openvino.Model) -> list[str]:
    """The products that stay in fp32 where weights have seven bits only: attention's, and those that narrow.

    What narrows (a feed-forward block's second layer) reads what an activation function left, which quantises worst.
    Measured on all-MiniLM-L6-v2 without VNNI: cosines of 0.9985 (p1 0.9973) instead of 0.9971 (0.9948), and 0.89 of
    fp32's speed instead of 0.73, since int8 gains nothing there.
    """
    return [op.get_friendly_name() for op in model.get_ops() if op.get_type_name() == "MatMul" and not _widens(op)]


def _widens(product: Any) -> bool:
    """Whether it multiplies by weights that have at least as many outputs as inputs."""
    weights = product.input(1).get_partial_shape()
    if weights.is_dynamic or len(weights) != 2:  # an activation, not weights
        return False
    inputs, outputs = weights.to_shape()
    if product.get_attributes()["transpose_b"]:
        inputs, outputs = outputs, inputs
    return bool(outputs >= inputs)
