"""Token ids equal those of sentence-transformers for every model family, and truncated texts are marked."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import normalizers

from engine.artifacts.prepare_child import _convert_tokenizer
from engine.artifacts.reference_vectors import REFERENCE_TEXTS
from engine.errors import ModelError
from engine.models.resolve import resolve_model
from engine.models.tokenizer import Tokenizer
from tests.support.tiny_models import build_tiny_cls_model, build_tiny_mpnet, build_tiny_mpnet_or_xlmr

TEXTS = [
    *REFERENCE_TEXTS,
    "  spaces  inside   and around ",
    "tab\tline\nbreak\r\n",
    "ÜNÏCÖDÉ straße İstanbul 東京 🙂",
    "[CLS] <s> [MASK]",
    "\x00control\u200b",
    "word " * 600,
]
BUILDERS: dict[str, Callable[[Path], Path] | None] = {
    "bundled": None,
    "cls": build_tiny_cls_model,
    "xlmr": build_tiny_mpnet_or_xlmr,
    "mpnet": build_tiny_mpnet,
}


@pytest.mark.parametrize("name", BUILDERS)
def test_ids_and_truncation_equal_sentence_transformers_own(name: str, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    builder = BUILDERS[name]
    files = resolve_model(str(builder(tmp_path)) if builder else None)
    theirs: Any = SentenceTransformer(str(files.path), device="cpu")
    features = theirs.preprocess(TEXTS)
    expected = [
        row[: int(mask.sum())].tolist()
        for row, mask in zip(features["input_ids"], features["attention_mask"], strict=True)
    ]
    assert [text.ids for text in Tokenizer.load(files).encode(TEXTS)] == expected
    assert theirs.max_seq_length == files.card.max_tokens


def test_a_text_is_marked_truncated_only_when_something_was_cut() -> None:
    tokenizer = Tokenizer.load(resolve_model(None))
    fits, cut, short = tokenizer.encode(["a " * 254, "a " * 255, "a"])
    assert [(len(text.ids), text.truncated) for text in (fits, cut, short)] == [(256, False), (256, True), (3, False)]
    assert tokenizer.encode(["a " * 255]) == [cut], "alone as among others"


def test_the_prompt_is_prepended_to_every_text() -> None:
    tokenizer = Tokenizer.load(resolve_model(None))
    assert tokenizer.encode(["one", "two"], prompt="query: ") == tokenizer.encode(["query: one", "query: two"])
    assert tokenizer.encode(["one"], prompt="query: ") == tokenizer.encode(["query: one"])


def test_the_model_card_can_require_lower_case(tmp_path: Path) -> None:
    folder = build_tiny_cls_model(tmp_path)
    cased = RustTokenizer.from_file(str(folder / "tokenizer.json"))
    cased.normalizer = normalizers.NFC()
    cased.save(str(folder / "tokenizer.json"))
    as_is = Tokenizer.load(resolve_model(str(folder)))
    assert as_is.encode(["Hello"]) != as_is.encode(["hello"])
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": true}')
    lowered = Tokenizer.load(resolve_model(str(folder)))
    assert lowered.encode(["Hello"]) == lowered.encode(["hello"]) == as_is.encode(["hello"])


def test_threads_may_share_one_tokenizer() -> None:
    tokenizer = Tokenizer.load(resolve_model(None))
    expected = tokenizer.encode(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: tokenizer.encode(TEXTS), range(40)):
            assert found == expected


def test_an_older_tokenizer_is_converted_once_and_read_from_the_artifact(tmp_path: Path) -> None:
    folder = build_tiny_cls_model(tmp_path / "model")
    files = resolve_model(str(folder))
    expected = Tokenizer.load(files).encode(TEXTS[:8])
    vocabulary = RustTokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)), "utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "model_max_length": 64}')
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer\.json"):
        Tokenizer.load(files)
    _convert_tokenizer(files, tmp_path)
    assert Tokenizer.load(files, artifact=tmp_path).encode(TEXTS[:8]) == expected
