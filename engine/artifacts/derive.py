"""Derives artifacts from the plain ONNX graph: quantised graphs for ONNX Runtime, and OpenVINO's files."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.artifacts.reference_vectors import ReferenceVectors, mean_cosine
from engine.backends import backend
from engine.backends.base import Cell
from engine.errors import ModelError
from engine.models.resolve import ModelFiles
from engine.models.tokenizer import Tokenizer

_GRAPH = "model.onnx"
_MIN_COSINE = 0.5
"""An artifact below this is broken. The deployment checks the precision of those above it."""


def derive(
    files: ModelFiles, prepared: Cell, plain: Path, folder: Path, begin: Callable[[str], None], texts: Sequence[str]
) -> None:
    """Fills `folder` from the plain artifact in `plain`, calibrated with `texts` unless they are empty.

    Raises ModelError when the result does not reproduce the reference vectors, ImportError when a quantiser is not
    installed.
    """
    for name in ("reference.json", "reference.npy", "tokenizer.json"):
        if (plain / name).exists():
            shutil.copy(plain / name, folder / name)
    calibration = [text.ids for text in Tokenizer.load(files, folder).encode(texts)] if texts else []
    begin(f"make {prepared.precision}" + (f" with {len(texts)} texts" if texts else ""))
    if prepared.backend == "onnx":
        _derive_onnx(prepared, plain / _GRAPH, folder / _GRAPH, calibration)
    else:
        from engine.backends.openvino.quantize import derive_openvino

        derive_openvino(prepared, plain / _GRAPH, folder, calibration)
    begin("verify")
    loaded = backend(prepared.backend).load(folder, files.path, prepared, 1)
    cosine = mean_cosine(loaded.executor(1), ReferenceVectors.load(folder))
    loaded.close()
    if not cosine >= _MIN_COSINE:
        raise ModelError(
            f"{files.id} in {prepared.precision} for {prepared.backend} does not reproduce the reference vectors "
            f"(mean cosine {cosine:.3f}): choose another precision"
        )


def _derive_onnx(prepared: Cell, plain: Path, target: Path, calibration: Sequence[Sequence[int]]) -> None:
    from engine.backends.onnx.quantize import quantize_int4, quantize_int8

    if prepared.precision == "int4":
        quantize_int4(plain, target)
    else:
        quantize_int8(plain, target, calibration)
