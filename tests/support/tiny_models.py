"""Builders of tiny random models, with real files of other architectures and shapes than the bundled model's.

Weights and tokenizer are written by transformers, module files in the format of sentence-transformers. The same call
writes the same bytes, so that artifacts made from them are found in the cache.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from engine.artifacts.reference_vectors import REFERENCE_TEXTS

_SHAPE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_LIVELY = 0.4
"""Initial weights this wide make different texts give different vectors."""


def build_tiny_cls_model(path: Path) -> Path:
    """BERT with cls pooling, no normalisation and two prompts, in the files that sentence-transformers 6 writes."""
    tokenizer = _wordpiece(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))
    config = BertConfig(**_SHAPE, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=80, pad_token_id=0)
    _save(path, BertModel(_lively(config)), tokenizer, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), limit=64)
    _write(path / "modules.json", _modules("Transformer", "Pooling"))
    _write(path / "1_Pooling/config.json", {"embedding_dimension": 32, "pooling_mode": "cls", "include_prompt": True})
    text = {"method": "forward", "method_output_name": "last_hidden_state"}
    _write(
        path / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": text},
            "module_output_name": "token_embeddings",
        },
    )
    prompts = {"query": "find this: ", "document": ""}
    _write(path / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})
    return path


def build_tiny_mpnet_or_xlmr(path: Path) -> Path:
    """XLM-R (positions counted from the padding id) with two pooling modes, a dense layer and a normalisation.

    In the older files: pooling flags, max_seq_length in sentence_bert_config.json.
    """
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    pieces = sorted({f"▁{word}" for text in REFERENCE_TEXTS for word in text.split()} | set("".join(REFERENCE_TEXTS)))
    scored = [*((name, 0.0) for name in special), ("▁", -9.0), *((piece, -9.0 / len(piece)) for piece in pieces)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))  # not trained: a trainer's threads make it differ each time
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    config = XLMRobertaConfig(
        **_SHAPE, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=74, pad_token_id=1, type_vocab_size=1
    )
    _save(path, XLMRobertaModel(_lively(config)), tokenizer, ("<pad>", "<unk>", "<s>", "</s>", "<mask>"), limit=72)
    _write(path / "modules.json", _modules("Transformer", "Pooling", "Dense", "Normalize"))
    flags = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    _write(path / "1_Pooling/config.json", {"word_embedding_dimension": 32, **flags})
    _write(path / "sentence_bert_config.json", {"max_seq_length": 70, "do_lower_case": False})
    activation = "torch.nn.modules.activation.Tanh"
    _write(
        path / "2_Dense/config.json",
        {"in_features": 64, "out_features": 24, "bias": True, "activation_function": activation},
    )
    torch.manual_seed(3)
    _save_dense(path / "2_Dense/model.safetensors", torch.nn.Linear(64, 24))
    return path


def build_tiny_mpnet(path: Path) -> Path:
    """A plain MPNet as transformers saves it, without any module files: mean pooling, no normalisation."""
    special = ("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
    tokenizer = _wordpiece(special, start="<s>", end="</s>", unknown="[UNK]")
    config = MPNetConfig(**_SHAPE, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=66, pad_token_id=1)
    _save(path, MPNetModel(_lively(config)), tokenizer, ("<pad>", "[UNK]", "<s>", "</s>", "<mask>"), limit=60)
    return path


def _wordpiece(
    special: tuple[str, ...], *, start: str = "[CLS]", end: str = "[SEP]", unknown: str = "[UNK]"
) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = sorted({word for text in REFERENCE_TEXTS for word in text.lower().replace(".", " ").split()})
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz0123456789.,:;'?-()/"))
    vocabulary = [*special, *letters, *(f"##{letter}" for letter in letters), *(w for w in words if len(w) > 1)]
    tokenizer.model = models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token=unknown)
    ids = [(start, vocabulary.index(start)), (end, vocabulary.index(end))]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{start} $A {end}", special_tokens=ids)
    return tokenizer


def _lively(config: Any) -> Any:
    config.initializer_range = _LIVELY
    torch.manual_seed(7)
    return config


def _save(path: Path, model: PreTrainedModel, tokenizer: Tokenizer, special: tuple[str, ...], *, limit: int) -> None:
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    wrap: Any = PreTrainedTokenizerFast  # transformers carries no types for its constructor
    wrap(tokenizer_object=tokenizer, model_max_length=limit, **dict(zip(names, special, strict=True))).save_pretrained(
        path
    )
    model.save_pretrained(path)


def _save_dense(path: Path, linear: torch.nn.Linear) -> None:
    from safetensors.torch import save_file

    save_file({"linear.weight": linear.weight.detach(), "linear.bias": linear.bias.detach()}, path)


def _modules(*kinds: str) -> list[dict[str, Any]]:
    folders = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], start=1))]
    return [
        {"idx": number, "name": str(number), "path": folder, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, folder) in enumerate(zip(kinds, folders, strict=True))
    ]


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), "utf-8")
