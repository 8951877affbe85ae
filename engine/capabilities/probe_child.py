"""The probe process: prepares, loads and runs a tiny random model in each cell that it is sent, and reports results."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from engine.artifacts.prepare_child import build
from engine.artifacts.reference_vectors import REFERENCE_TEXTS, mean_cosine
from engine.artifacts.store import ArtifactStore, artifact_details, artifact_key
from engine.backends import backend
from engine.backends.base import Cell
from engine.backends.product_probe import product_precision
from engine.host.child import Worker
from engine.models.resolve import ModelFiles, model_at

_MIN_COSINE = 0.5
"""Mean cosine to fp32 below which a probe fails. A random model cannot show quality: this rejects only garbage."""
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def main() -> int:
    """Probes the cells of the order; writes one `begin` and one `result` line for each."""
    worker = Worker()
    with tempfile.TemporaryDirectory(prefix="embedconsole-probe-") as folder:
        files = tiny_model(Path(folder) / "model")
        store = ArtifactStore(Path(folder) / "artifacts")
        for words in worker.order["cells"]:
            worker.report(event="begin", cell=words)
            cell = Cell(**words)
            try:
                passed, detail = probe(files, cell, store) if cell.recipe else probe_product(cell)
            except Exception as error:  # any failure of a runtime is a result of the probe
                first_line = (str(error).strip().splitlines() or [""])[0]
                passed, detail = False, f"{type(error).__name__}: {first_line}"[:300]
            worker.report(event="result", cell=words, result="passed" if passed else "failed", detail=detail)
    return 0


def probe_product(cell: Cell) -> tuple[bool, str]:
    """Does what probe() does for a cell without a recipe, with one matrix product instead of a model."""
    ran_in = product_precision(cell.backend, cell.precision)
    return ran_in == cell.precision, f"a matrix product asked for in {cell.precision} ran in {ran_in}"


def probe(files: ModelFiles, cell: Cell, store: ArtifactStore) -> tuple[bool, str]:
    """Returns whether the cell runs in its own precision, and the evidence, or what it did instead."""
    key, details = artifact_key(files, cell), artifact_details(files, cell)
    artifact = store.publish(key, lambda out: build(files, cell, out, lambda _: None, store), details, lambda _: None)
    model = backend(cell.backend).load(artifact.path, files.path, cell, 1)
    try:
        cosine = mean_cosine(model.executor(1), artifact.reference)
        if model.precision != cell.precision:
            return False, f"it ran in {model.precision} ({model.evidence})"
        if not cosine >= _MIN_COSINE:
            return False, f"its vectors differ too much from fp32 (mean cosine {cosine:.3f})"
        return True, model.evidence
    finally:
        model.close()


def tiny_model(path: Path) -> ModelFiles:
    """Makes a BERT of one layer with random weights, wide enough for the blocks of every quantiser; takes a second."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = sorted({letter for text in REFERENCE_TEXTS for letter in text.lower() if not letter.isspace()})
    words = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=256,
        max_position_embeddings=128, initializer_range=0.2,
    )  # fmt: skip
    BertModel(config).save_pretrained(path)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _SPECIAL, strict=True))
    wrap: Any = PreTrainedTokenizerFast  # its constructor has no type hints
    wrap(tokenizer_object=tokenizer, model_max_length=128, **names).save_pretrained(path)
    return model_at(path, "probe")


if __name__ == "__main__":
    sys.exit(main())
