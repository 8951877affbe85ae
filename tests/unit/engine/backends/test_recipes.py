"""Artifacts of the recipes: their fidelity to fp32, their keys, and the evidence of their precision."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from engine.artifacts.calibration import calibration_of, default_calibration, evaluation_texts
from engine.artifacts.reference_vectors import cosines, mean_cosine
from engine.artifacts.store import Artifact, artifact_key
from engine.backends import backend
from engine.backends.base import Cell
from engine.backends.onnx.trace import OnnxTrace
from engine.backends.recipes import RECIPES, recipe_for, recipe_of, recipes_of
from engine.backends.smoothing import smoothing_scale
from engine.errors import ModelError
from engine.models.resolve import ModelFiles
from engine.models.tokenizer import Tokenizer
from tests.support.prepared import prepare_here
from tests.unit.engine.conftest import Prepared

Files = Callable[[str], ModelFiles]


@pytest.mark.parametrize("recipe", ["nf4", "int4"])
def test_openvino_makes_4_bit_weights_of_layers_whose_width_its_blocks_do_not_divide(
    recipe: str, prepared: Prepared
) -> None:
    cell = Cell(backend="openvino", precision="int4", recipe=recipe, device="cpu")
    files, artifact = prepared("cls", cell)
    loaded = backend("openvino").load(artifact.path, files.path, cell, threads=1)
    assert loaded.precision == "int4"
    # A tiny random model has only 32 channels: this shows that nothing is broken, not how precise it is.
    assert mean_cosine(loaded.executor(1), artifact.reference) >= 0.7
    loaded.close()


def test_int8_keeps_its_fidelity_on_prose_that_did_not_calibrate_it(prepared: Prepared) -> None:
    files, plain = prepared("bundled", "onnx")
    every_third = list(evaluation_texts())[::3]
    texts = sorted((list(text.ids) for text in Tokenizer.load(files).encode(every_third)), key=len)
    some = calibration_of(default_calibration().texts[::5])  # a fifth, because the whole takes five times as long

    def vectors(cell: Cell, artifact: Artifact) -> NDArray[np.float32]:
        loaded = backend(cell.backend).load(artifact.path, files.path, cell, threads=1)
        run = loaded.executor(1)
        unit = [run(texts[start : start + 4]).in_order().unit for start in range(0, len(texts), 4)]
        loaded.close()
        return np.concatenate(unit)

    int8 = Cell(backend="onnx", precision="int8", recipe="smoothed", device="cpu")
    exact = vectors(Cell(backend="onnx", precision="fp32", recipe="plain", device="cpu"), plain)
    found = cosines(vectors(int8, prepare_here(files, int8, some)), exact)
    assert found.mean() >= 0.992
    assert np.percentile(found, 1) >= 0.987


def test_a_cell_has_one_default_recipe_and_no_name_twice() -> None:
    for recipe in RECIPES:
        of_cell = recipes_of(recipe.backend, recipe.precision, recipe.device)
        assert [one.default for one in of_cell] == [True] + [False] * (len(of_cell) - 1)
        assert len({one.name for one in of_cell}) == len(of_cell)
    assert recipe_for("torch", "fp32", "cuda:1") == recipe_for("torch", "fp32", "cuda", "plain")
    with pytest.raises(ModelError, match="choose smoothed, dynamic"):
        recipe_of(Cell(backend="onnx", precision="int8", recipe="no such", device="cpu"))


def test_the_key_of_an_artifact_depends_on_what_determines_its_content_and_on_nothing_else(
    model_files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, own = model_files("cls"), calibration_of(["a text", "another"])

    def key(backend: str, precision: str, recipe: str, device: str) -> str:
        return artifact_key(files, Cell(backend=backend, precision=precision, recipe=recipe, device=device))

    assert key("torch", "bf16", "cast", "cpu") == key("torch", "fp32", "", "cpu")
    assert key("torch", "int4", "nf4", "cuda:1") == key("torch", "fp32", "plain", "cpu")
    assert key("openvino", "bf16", "cast", "cpu") == key("openvino", "fp32", "plain", "cpu")
    smoothed, dynamic = (
        Cell(backend="onnx", precision="int8", recipe="smoothed", device="cpu"),
        Cell(backend="onnx", precision="int8", recipe="dynamic", device="cpu"),
    )
    assert artifact_key(files, smoothed, own) != artifact_key(files, smoothed)
    assert artifact_key(files, smoothed, default_calibration()) == artifact_key(files, smoothed)
    assert artifact_key(files, dynamic, own) == artifact_key(files, dynamic), (
        "the recipe is not calibrated, so texts do not matter"
    )
    keys = []
    for saturates in (True, False):
        monkeypatch.setattr("engine.artifacts.store.int8_products_saturate", lambda known=saturates: known)
        keys.append((artifact_key(files, dynamic), key("onnx", "int4", "blocks", "cpu")))
    assert keys[0][0] != keys[1][0], "int8 graphs depend on the processor"
    assert keys[0][1] == keys[1][1]


def test_a_quantised_graph_keeps_its_embeddings_and_no_unused_weights(prepared: Prepared) -> None:
    _, artifact = prepared("cls", Cell(backend="onnx", precision="int8", recipe="smoothed", device="cpu"))
    graph = onnx.load(artifact.path / "model.onnx").graph
    read = {name for node in graph.node for name in node.input}
    assert not [tensor.name for tensor in graph.initializer if tensor.name not in read]
    assert max(graph.initializer, key=lambda tensor: np.prod(tensor.dims)).data_type == onnx.TensorProto.FLOAT


def test_smoothing_keeps_products_and_balances_channels() -> None:
    random = np.random.default_rng(1)
    activations = random.normal(size=(50, 8)).astype(np.float32) * np.array([1, 1, 1, 60, 1, 1, 1, 1], np.float32)
    weights = random.normal(size=(8, 4)).astype(np.float32)
    scale = smoothing_scale(np.abs(activations).max(axis=0), np.abs(weights).max(axis=1))
    smoothed = (activations / scale) @ (weights * scale[:, None])
    np.testing.assert_allclose(smoothed, activations @ weights, rtol=1e-3, atol=1e-3)
    largest = np.abs(activations / scale).max(axis=0)
    assert largest.max() / np.median(largest) < 10


def test_a_trace_shows_which_products_were_quantised() -> None:
    linear = {"op_name": "DynamicQuantizeMatMul", "input_type_shape": [{"float": [1, 2, 8]}, {"float": [8]}]}
    not_quantised = {"op_name": "MatMul", "input_type_shape": [{"float": [1, 2, 8]}]}
    attention = {"op_name": "MatMul", "input_type_shape": [{"float": [1, 4, 2, 2]}, {"float": [1, 4, 2, 2]}]}
    softmax = {"op_name": "Softmax", "input_type_shape": [{"float": [1, 4, 2, 2]}]}
    trace = OnnxTrace.of([linear, linear, not_quantised, attention, softmax])
    assert trace.precision == "int8"
    assert trace.evidence == "2 of 3 linear layers int8, 1 products between activations float32, softmax float32"
    assert OnnxTrace.of([not_quantised, attention]).evidence == "2 of 2 matrix multiplications ran in float32"


def test_a_missing_quantiser_is_named_with_what_to_install(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    files, artifact = prepared("cls", "torch")
    for package in ("bitsandbytes", "bitsandbytes.nn", "torchao", "torchao.quantization"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    for cell in (
        Cell(backend="torch", precision="int4", recipe="nf4", device="cpu"),
        Cell(backend="torch", precision="int8", recipe="torchao", device="cpu"),
    ):
        with pytest.raises(ModelError, match=r"pip install 'embedconsole\[quantize\]'"):
            backend("torch").load(artifact.path, files.path, cell, threads=1)
