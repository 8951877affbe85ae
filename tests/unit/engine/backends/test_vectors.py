"""All backends return the vectors of sentence-transformers, for several model families."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.artifacts.export import MIN_COSINE, VERIFIED_BATCHES, VERIFIED_LENGTHS, ragged_batch
from engine.artifacts.reference_vectors import REFERENCE_TEXTS, cosines, mean_cosine
from engine.backends import backend
from engine.errors import ModelError
from engine.models.card import POOLING_MODES
from engine.models.tokenizer import Tokenizer
from engine.scheduling.contract import Executor, ModelOutput, Vectors
from tests.unit.engine.conftest import BACKENDS, MODELS, Prepared, fp32

TEXTS = [*REFERENCE_TEXTS, "  leading spaces", "Ünïcödé straße 東京", "tabs\tand\n\nlines", "word " * 400]


def in_small_batches(run: Executor, texts: list[list[int]]) -> Vectors:
    """Runs four texts per batch: in one batch every text would be padded to the longest, which takes seconds."""
    parts = [run(texts[start : start + 4]).in_order() for start in range(0, len(texts), 4)]
    return Vectors(np.concatenate([part.unit for part in parts]), np.concatenate([part.norms for part in parts]))


@pytest.mark.parametrize("runtime", BACKENDS)
@pytest.mark.parametrize("name", MODELS)
def test_vectors_and_their_norms_equal_those_of_sentence_transformers(
    name: str, runtime: str, prepared: Prepared, sentence_transformer: Callable[[str], Any]
) -> None:
    files, artifact = prepared(name, runtime)
    loaded = backend(runtime).load(artifact.path, files.path, fp32(runtime), threads=1)
    vectors = in_small_batches(loaded.executor(1), [text.ids for text in Tokenizer.load(files).encode(TEXTS)])
    theirs = sentence_transformer(name).encode(TEXTS, batch_size=4, show_progress_bar=False)
    lengths = np.linalg.norm(theirs, axis=1)
    assert cosines(vectors.unit, theirs / lengths[:, None]).min() >= MIN_COSINE
    np.testing.assert_allclose(np.linalg.norm(vectors.unit, axis=1), 1, rtol=1e-5)
    if not files.card.normalize:
        np.testing.assert_allclose(vectors.norms, lengths, rtol=1e-4)
    assert vectors.unit.dtype == vectors.norms.dtype == np.float32
    assert vectors.unit.shape == (len(TEXTS), loaded.dim) == theirs.shape
    assert loaded.precision == "fp32"
    assert mean_cosine(loaded.executor(1), artifact.reference) >= MIN_COSINE
    loaded.close()


@pytest.mark.parametrize("name", ["cls", "xlmr", "mpnet"])
def test_batch_size_and_length_are_dynamic_up_to_the_limit_of_the_model(name: str, prepared: Prepared) -> None:
    files, artifact = prepared(name, "onnx")
    graph = backend("onnx").load(artifact.path, files.path, fp32("onnx"), threads=1)
    module = backend("torch").load(artifact.path, files.path, fp32("torch"), threads=1)
    onnx, torch = graph.executor(1), module.executor(1)
    for batch in (*VERIFIED_BATCHES, 5):
        for length in (*VERIFIED_LENGTHS, 3, files.card.max_tokens):
            ids, mask = ragged_batch(batch, min(length, files.card.max_tokens), files.card.pad_token_id, vocabulary=60)
            texts = [row[:count].tolist() for row, count in zip(ids, mask.sum(axis=1), strict=True)]
            assert cosines(onnx(texts).in_order().unit, torch(texts).in_order().unit).min() >= MIN_COSINE


def test_a_text_has_the_same_vector_alone_and_among_longer_ones(prepared: Prepared) -> None:
    for runtime in BACKENDS:
        files, artifact = prepared("xlmr", runtime)
        run = backend(runtime).load(artifact.path, files.path, fp32(runtime), threads=1).executor(1)
        short, long = [0, 9, 2], [0, *range(5, 60), 2]
        assert cosines(run([short]).in_order().unit, run([long, short]).in_order().unit[1:])[0] >= MIN_COSINE


def test_prompts_change_the_vector_as_they_do_in_sentence_transformers(
    prepared: Prepared, sentence_transformer: Callable[[str], Any]
) -> None:
    files, artifact = prepared("cls", "onnx")
    run = backend("onnx").load(artifact.path, files.path, fp32("onnx"), threads=1).executor(1)
    encoded = Tokenizer.load(files).encode(["opening hours"], prompt=files.card.prompts["query"])
    theirs = sentence_transformer("cls").encode(["opening hours"], prompt_name="query")
    assert cosines(run([encoded[0].ids]).in_order().unit, theirs / np.linalg.norm(theirs))[0] >= MIN_COSINE


def test_the_effective_precision_is_read_from_the_loaded_model(prepared: Prepared) -> None:
    import torch

    from engine.backends.torch.onednn import can_multiply

    torch_evidence = (
        "24 of 24 linear layers fp32, through oneDNN, no padding; the rest float32"
        if can_multiply(torch.float32)
        else "103 of 103 weight tensors are float32"
    )
    reported = {}
    for runtime in BACKENDS:
        files, artifact = prepared("bundled", runtime)
        loaded = backend(runtime).load(artifact.path, files.path, fp32(runtime), threads=1)
        reported[runtime] = (loaded.precision, loaded.evidence)
        loaded.close()
    assert reported == {
        "torch": ("fp32", torch_evidence),
        "onnx": ("fp32", "49 of 49 matrix multiplications ran in float32"),
        "openvino": ("fp32", "36 of 36 linear layers fp32, layer norm fp32"),
    }


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_every_pooling_mode_equals_that_of_sentence_transformers(mode: str) -> None:
    import torch
    from sentence_transformers.sentence_transformer.modules import Pooling

    from engine.backends.torch.module import pool

    tokens = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    features = Pooling(4, mode)({"token_embeddings": tokens, "attention_mask": mask})
    torch.testing.assert_close(pool(mode, tokens, mask), features["sentence_embedding"])


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_pooling_of_packed_rows_is_the_same_for_every_text(mode: str) -> None:
    import torch

    from engine.backends.torch.module import pool
    from engine.backends.torch.packed_module import pool as pool_packed

    tokens = torch.randn(1, 8, 4, generator=torch.Generator().manual_seed(2))
    places, numbers = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0]]), torch.tensor([[1, 1, 1, 2, 2, 2, 2, 0]])
    membership = numbers.unsqueeze(1) == torch.tensor([1, 2]).view(1, -1, 1)
    pooled = pool_packed(mode, tokens, membership, places)
    for text, part in enumerate((slice(0, 3), slice(3, 7))):
        alone = tokens[:, part]
        torch.testing.assert_close(pooled[:, text], pool(mode, alone, torch.ones(alone.shape[:2], dtype=torch.long)))


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("name", MODELS)
def test_texts_share_rows_in_every_family_and_do_not_affect_each_other(
    name: str, runtime: str, prepared: Prepared
) -> None:
    files, artifact = prepared(name, runtime)
    loaded = backend(runtime).load(artifact.path, files.path, fp32(runtime), threads=1)
    assert loaded.packs
    run = loaded.executor(1)
    texts = artifact.reference.token_ids
    output = run(texts)
    assert isinstance(output, ModelOutput)
    assert output.computed_tokens < len(texts) * max(map(len, texts))
    together = output.in_order()  # a copy, because the next call may overwrite the output
    alone = np.concatenate([run([text]).in_order().unit for text in texts])
    assert cosines(together.unit, alone).min() >= MIN_COSINE
    loaded.close()


def test_a_model_without_support_for_packing_is_exported_with_one_text_per_row_and_reports_it(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.artifacts import export
    from engine.backends.torch.module import load_module

    files, artifact = prepared("cls", "torch")
    monkeypatch.setattr(export, "packed_module", lambda *_: None)
    export.export(load_module(files.path, files.card), files.card, tmp_path / "model.onnx")
    loaded = backend("onnx").load(tmp_path, files.path, fp32("onnx"), threads=1)
    assert not loaded.packs
    assert loaded.evidence.endswith("one text per row: this model does not support packing")
    assert (
        cosines(loaded.executor(1)(artifact.reference.token_ids).in_order().unit, artifact.reference.vectors).min()
        >= MIN_COSINE
    )
    loaded.close()


def test_a_zero_vector_stays_zero_instead_of_becoming_nan() -> None:
    import torch

    from engine.backends.torch.module import SentenceModule

    class Zero(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return type("Output", (), {"last_hidden_state": torch.zeros(*input_ids.shape, 4)})

    ones = torch.ones(2, 3, dtype=torch.int64)
    unit, norms = SentenceModule(Zero(), "mean", [])(ones, ones)
    assert not unit.any()
    assert not norms.any()


@pytest.mark.parametrize("runtime", BACKENDS)
def test_a_closed_model_refuses_to_run(runtime: str, prepared: Prepared) -> None:
    files, artifact = prepared("cls", runtime)
    loaded = backend(runtime).load(artifact.path, files.path, fp32(runtime), threads=1)
    executor = loaded.executor(1)
    loaded.close()
    with pytest.raises(ModelError, match="released"):
        executor([[2, 3]])


def test_wide_instances_get_a_session_each_and_narrow_ones_share(prepared: Prepared) -> None:
    files, artifact = prepared("cls", "onnx")
    narrow = backend("onnx").load(artifact.path, files.path, fp32("onnx"), threads=1)
    assert narrow.executor(1)._shared is narrow.executor(1)._shared  # type: ignore[attr-defined]  # private
    wide = backend("onnx").load(artifact.path, files.path, fp32("onnx"), threads=2)
    first, second = wide.executor(2), wide.executor(2)
    sessions = {id(executor._shared) for executor in (first, second)}  # type: ignore[attr-defined]  # private
    assert len(sessions) == 2
    del first
    assert id(wide.executor(2)._shared) in sessions, "a session whose executor is gone is reused"  # type: ignore[attr-defined]  # private


def test_an_unknown_or_missing_runtime_is_refused_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prepared: Prepared
) -> None:
    with pytest.raises(ModelError, match="choose one of onnx, openvino, torch"):
        backend("tensorrt")
    files, _ = prepared("cls", "onnx")
    with pytest.raises(ModelError, match=r"cannot load .*model\.onnx"):
        backend("onnx").load(tmp_path, files.path, fp32("onnx"), threads=1)
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    monkeypatch.delitem(__import__("sys").modules, "engine.backends.torch.runtime", raising=False)
    with pytest.raises(ModelError, match=r"pip install 'embedconsole\[torch\]'"):
        backend("torch")
