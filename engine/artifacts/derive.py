"""What the preparer makes from the plain ONNX graph: smaller graphs for ONNX Runtime, and OpenVINO's own files."""

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
_LEAST_COSINE = 0.5
"""Below this an artifact is broken, not coarse; how coarse it may be is for the deployment to judge."""


def derive(
    files: ModelFiles, prepared: Cell, plain: Path, folder: Path, begin: Callable[[str], None], texts: Sequence[str]
) -> None:
    """Fills `folder` from the plain artifact in `plain`, calibrated with `texts` where there are any.

    Raises ModelError when what came out does not run, or ImportError when a quantiser is not installed.
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
    if not cosine >= _LEAST_COSINE:
        raise ModelError(
            f"{files.id} made {prepared.precision} for {prepared.backend} gives other vectors (mean cosine "
            f"{cosine:.3f}): choose another precision"
        )


def _derive_onnx(prepared: Cell, plain: Path, made: Path, calibration: Sequence[Sequence[int]]) -> None:
    from engine.backends.onnx.quantize import quantize_int4, quantize_int8

    if prepared.precision == "int4":
        quantize_int4(plain, made)
    else:
        quantize_int8(plain, made, calibration)
