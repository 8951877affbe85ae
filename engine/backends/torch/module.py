"""The complete model as a torch module: transformer, pooling, dense layers, and normalisation in fp32."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from engine.errors import ModelError
from engine.models.card import DenseLayer, ModelCard


class SentenceModule(nn.Module):
    """forward(input_ids, attention_mask), both (n, length) int64 -> unit (n, dim) and norms (n,), both float32."""

    def __init__(self, transformer: nn.Module, pooling: str, dense: list["Projection"]) -> None:
        super().__init__()
        self.transformer: Any = transformer  # a transformers model, which torch types as nn.Module
        self.pooling = pooling.split("+")
        self.dense = nn.ModuleList(dense)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        # The transformer uses its default token type ids, zeros.
        tokens = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = torch.cat([pool(mode, tokens, attention_mask) for mode in self.pooling], dim=-1)
        for layer in self.dense:
            pooled = layer(pooled)
        vectors = pooled.float()
        norms = vectors.norm(dim=-1)
        # A zero vector stays zero instead of becoming NaN; 1e-12 is the default of torch.nn.functional.normalize.
        return vectors / norms.clamp(min=1e-12).unsqueeze(-1), norms


class Projection(nn.Module):
    """Dense of sentence-transformers: a linear layer, an activation, and optionally a residual connection."""

    def __init__(self, layer: DenseLayer) -> None:
        super().__init__()
        self.linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)
        self.activation = _activation(layer.activation)
        projected = layer.residual and layer.in_features != layer.out_features
        self.residual: nn.Module | None = None
        if layer.residual:
            self.residual = nn.Linear(layer.in_features, layer.out_features, bias=False) if projected else nn.Identity()

    def forward(self, vectors: Tensor) -> Tensor:
        projected: Tensor = self.activation(self.linear(vectors))
        return projected if self.residual is None else projected + self.residual(vectors)


def pool(mode: str, tokens: Tensor, attention_mask: Tensor) -> Tensor:
    """Returns one vector per text, (n, hidden), from (n, length, hidden) with padding on the right.

    The modes are those of sentence-transformers.
    """
    if mode == "cls":
        return tokens[:, 0]
    mask = attention_mask.unsqueeze(-1).to(tokens.dtype)
    if mode == "max":
        return tokens.masked_fill(mask == 0, float("-inf")).max(dim=1).values
    if mode == "lasttoken":
        last = (attention_mask.sum(dim=1) - 1).view(-1, 1, 1).expand(-1, 1, tokens.shape[-1])
        return tokens.gather(1, last).squeeze(1)
    positions = torch.arange(1, tokens.shape[1] + 1, device=tokens.device).view(1, -1, 1)
    weights = mask * positions if mode == "weightedmean" else mask
    total = (tokens * weights).sum(dim=1)
    count = weights.sum(dim=1).clamp(min=1e-9)
    return total / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)


def load_module(model_dir: Path, card: ModelCard) -> SentenceModule:
    """Loads the model in fp32 on the CPU, in evaluation mode, from safetensors and never from a pickle.

    Raises ModelError when transformers does not support the architecture or the weights do not match it.
    """
    hf_logging: Any = transformers_logging  # it has no types
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        transformer, report = AutoModel.from_pretrained(
            str(model_dir / card.transformer_path),
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        dense = [_projection(model_dir, layer) for layer in card.dense]
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise ModelError(f"{card.id} cannot be loaded by transformers: {_first_line(error)}") from error
    # A pooler does not contribute to vectors, so it may be missing. Other missing weights would be random.
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if missing:
        raise ModelError(
            f"{len(missing)} weights of {card.id} are missing ({missing[0]}, …): give the folder of a complete model"
        )
    return SentenceModule(transformer, card.pooling, dense).eval()


def _projection(model_dir: Path, layer: DenseLayer) -> Projection:
    projection = Projection(layer)
    projection.load_state_dict(load_file(model_dir / layer.path / "model.safetensors"))
    return projection.float()


def _activation(dotted: str) -> nn.Module:
    kind = getattr(nn, dotted.rpartition(".")[2], None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ModelError(f"module Dense with activation {dotted} is not supported")
    return kind()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
