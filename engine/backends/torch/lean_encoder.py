"""A lean encoder for BERT and related architectures: concatenated texts, without padding and without masks.

Adjacent texts of equal length share one attention call without a mask; all other operations run on all tokens at once.
Batches are sorted by length, so there are few such groups.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.backends.torch.onednn import OneDnnLinear

_ACTIVATION_OF = {"gelu": "gelu", "gelu_new": "tanh-gelu", "gelu_pytorch_tanh": "tanh-gelu", "relu": "relu"}
"""Activation of OneDnnLinear by the name in the configuration of a model."""


class LayerNames(NamedTuple):
    """Paths of the parts of a layer in a model family."""

    layers: str
    qkv: tuple[str, str, str]
    attention_output: str
    attention_norm: str
    up: str
    down: str
    norm: str


_BERT = LayerNames(
    "encoder.layer", ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
)  # fmt: skip
_FAMILIES = {
    "BertModel": _BERT,
    "RobertaModel": _BERT,
    "XLMRobertaModel": _BERT,
    "CamembertModel": _BERT,
    "MPNetModel": _BERT._replace(
        qkv=("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        attention_output="attention.attn.o",
        attention_norm="attention.LayerNorm",
    ),
    "DistilBertModel": LayerNames(
        "transformer.layer", ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        "attention.out_lin", "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LengthGroup:
    """Adjacent texts of equal length: `texts` texts of `length` tokens, from text `first` and token row `start` on."""

    first: int
    texts: int
    length: int
    start: int

    @property
    def rows(self) -> slice:
        """The rows of its tokens."""
        return slice(self.start, self.start + self.texts * self.length)


class EncoderOutput(NamedTuple):
    """The part of the output of a transformers model that is used."""

    last_hidden_state: Tensor


class LeanLayer(nn.Module):
    """One layer: attention and feed-forward, each with a residual connection and a layer norm."""

    def __init__(self, layer: nn.Module, names: LayerNames, heads: int, activation: str) -> None:
        super().__init__()
        self._heads = heads
        self.qkv = OneDnnLinear([_linear(layer, name) for name in names.qkv])
        self.attention_output = OneDnnLinear([_linear(layer, names.attention_output)])
        self.attention_norm = layer.get_submodule(names.attention_norm)
        self.up = OneDnnLinear([_linear(layer, names.up)], activation)
        self.down = OneDnnLinear([_linear(layer, names.down)])
        self.norm = layer.get_submodule(names.norm)

    def forward(self, tokens: Tensor, context: Tensor, groups: Sequence[LengthGroup], bias: Tensor | None) -> Tensor:
        """(rows, hidden) -> (rows, hidden); `context`, of the same shape, is overwritten."""
        qkv = self.qkv(tokens)
        for group in groups:
            # In float32 for all weights, because attention of torch in bfloat16 runs head by head, which is slower.
            rows = qkv[group.rows].float().view(group.texts, group.length, 3, self._heads, -1)
            query, key, value = rows.permute(2, 0, 3, 1, 4)
            mask = None if bias is None else bias[:, :, : group.length, : group.length]
            heads = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            context[group.rows].view(group.texts, group.length, self._heads, -1).copy_(heads.transpose(1, 2))
        tokens = self.attention_norm(self.attention_output.plus(context, tokens))
        normalised: Tensor = self.norm(self.down.plus(self.up(tokens), tokens))
        return normalised


class LeanEncoder(nn.Module):
    """A replacement of a transformers model: forward(input_ids, attention_mask) with padding on the right."""

    def __init__(self, model: Any, names: LayerNames, activation: str) -> None:
        super().__init__()
        self.config = model.config
        # Those of the model, because positions and token types differ between families.
        self.embeddings = model.embeddings
        layers: Any = model.get_submodule(names.layers)
        self.layers = nn.ModuleList(
            LeanLayer(layer, names, model.config.num_attention_heads, activation) for layer in layers
        )
        self.bias: Tensor | None
        self.register_buffer("bias", _position_bias(model))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> EncoderOutput:
        """(n, length) int64, twice -> (n, length, hidden), zeros at padding."""
        embedded = self.embeddings(input_ids=input_ids)
        texts, length, hidden = embedded.shape
        groups = list(_length_groups(attention_mask.sum(dim=1).tolist()))
        count = groups[-1].rows.stop if groups else 0
        tokens = embedded.new_zeros(padded_row_count(count), hidden)
        tokens[:count] = embedded[attention_mask.bool()] if count < texts * length else embedded.view(count, hidden)
        context = torch.zeros_like(tokens)
        for layer in self.layers:
            tokens = layer(tokens, context, groups, self.bias)
        padded = embedded.new_zeros(texts, length, hidden)
        for group in groups:
            texts_of_group = slice(group.first, group.first + group.texts)
            padded[texts_of_group, : group.length] = tokens[group.rows].view(group.texts, group.length, -1)
        return EncoderOutput(padded)


def lean_encoder(model: Any) -> LeanEncoder | None:
    """Returns the lean encoder of a transformers model; None if its architecture is not supported."""
    names = _FAMILIES.get(type(model).__name__)
    config = model.config
    activation = _ACTIVATION_OF.get(getattr(config, "hidden_act", getattr(config, "activation", "")))
    is_decoder = getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False)
    if names is None or activation is None or is_decoder:
        return None
    return LeanEncoder(model, names, activation)


def _length_groups(lengths: Sequence[int]) -> Iterator[LengthGroup]:
    """Yields the groups of adjacent texts of equal length, except texts without tokens."""
    first = start = 0
    for length, group in groupby(lengths):
        texts = len(list(group))
        if length:
            yield LengthGroup(first, texts, length, start)
        first += texts
        start += texts * length


def padded_row_count(count: int) -> int:
    """Returns `count` rounded up by at most 6 %, to one of 16 even numbers between two powers of two.

    oneDNN creates kernels for each number of rows. For all layers together this takes longer than running a text, and
    the kernels keep 2 MB.
    """
    step = max(2, 1 << max(0, count.bit_length() - 5))
    return -(-count // step) * step


def _linear(layer: nn.Module, name: str) -> nn.Linear:
    linear = layer.get_submodule(name)
    if not isinstance(linear, nn.Linear):
        raise TypeError(f"{name} is not a linear layer")
    return linear


def _position_bias(model: Any) -> Tensor | None:
    """Returns the relative position bias of MPNet's attention, (1, heads, longest, longest) float32, or None."""
    if not hasattr(getattr(model, "encoder", None), "relative_attention_bias"):
        return None
    longest = torch.empty(1, model.config.max_position_embeddings, 1)
    with torch.inference_mode():
        bias: Tensor = model.encoder.compute_position_bias(longest).float()
    return bias
