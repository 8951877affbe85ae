"""The encoder of BERT and its kin as few operations as it takes: texts end to end, without padding and without masks.

Texts of one length that stand side by side attend together, in one call without a mask; everything else is done to all
tokens at once. Batches come sorted by length, so there are few such runs.
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
"""By the name that a model's configuration has for it."""


class Names(NamedTuple):
    """Where a family keeps the parts of a layer."""

    layers: str
    products: tuple[str, str, str]
    attended: str
    attention_norm: str
    up: str
    down: str
    norm: str


_BERT = Names(
    "encoder.layer", ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
)  # fmt: skip
_FAMILIES = {
    "BertModel": _BERT,
    "RobertaModel": _BERT,
    "XLMRobertaModel": _BERT,
    "CamembertModel": _BERT,
    "MPNetModel": _BERT._replace(
        products=("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        attended="attention.attn.o",
        attention_norm="attention.LayerNorm",
    ),
    "DistilBertModel": Names(
        "transformer.layer", ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        "attention.out_lin", "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """`texts` neighbouring texts of `length` tokens each, the first of them the `first`th, from row `start` on."""

    first: int
    texts: int
    length: int
    start: int

    @property
    def rows(self) -> slice:
        """Where its tokens lie."""
        return slice(self.start, self.start + self.texts * self.length)


class Tokens(NamedTuple):
    """What a transformers model would answer with, as far as it is read."""

    last_hidden_state: Tensor


class LeanLayer(nn.Module):
    """One layer: attention and feed-forward, each added to its input and normalised."""

    def __init__(self, layer: nn.Module, names: Names, heads: int, activation: str) -> None:
        super().__init__()
        self._heads = heads
        self.products = OneDnnLinear([_linear(layer, name) for name in names.products])
        self.attended = OneDnnLinear([_linear(layer, names.attended)])
        self.attention_norm = layer.get_submodule(names.attention_norm)
        self.up = OneDnnLinear([_linear(layer, names.up)], activation)
        self.down = OneDnnLinear([_linear(layer, names.down)])
        self.norm = layer.get_submodule(names.norm)

    def forward(self, tokens: Tensor, attended: Tensor, runs: Sequence[Run], bias: Tensor | None) -> Tensor:
        """(rows, hidden) -> (rows, hidden); `attended`, of the same shape, is overwritten."""
        products = self.products(tokens)
        for run in runs:
            # In float32 whatever the weights are: torch's attention takes bfloat16 apart head by head, which is slower.
            own = products[run.rows].float().view(run.texts, run.length, 3, self._heads, -1)
            query, key, value = own.permute(2, 0, 3, 1, 4)
            mask = None if bias is None else bias[:, :, : run.length, : run.length]
            found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            attended[run.rows].view(run.texts, run.length, self._heads, -1).copy_(found.transpose(1, 2))
        tokens = self.attention_norm(self.attended.plus(attended, tokens))
        added: Tensor = self.norm(self.down.plus(self.up(tokens), tokens))
        return added


class LeanEncoder(nn.Module):
    """Takes the place of a transformers model: forward(input_ids, attention_mask) with padding on the right."""

    def __init__(self, model: Any, names: Names, activation: str) -> None:
        super().__init__()
        self.config = model.config
        # The model's own: how it counts positions and whether it knows token types is its business.
        self.embeddings = model.embeddings
        layers: Any = model.get_submodule(names.layers)
        self.layers = nn.ModuleList(
            LeanLayer(layer, names, model.config.num_attention_heads, activation) for layer in layers
        )
        self.bias: Tensor | None
        self.register_buffer("bias", _position_bias(model))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tokens:
        """Both (n, length) int64 -> (n, length, hidden), zeros where the padding is."""
        embedded = self.embeddings(input_ids=input_ids)
        texts, length, hidden = embedded.shape
        runs = list(_runs(attention_mask.sum(dim=1).tolist()))
        count = runs[-1].rows.stop if runs else 0
        tokens = embedded.new_zeros(rows_for(count), hidden)
        tokens[:count] = embedded[attention_mask.bool()] if count < texts * length else embedded.view(count, hidden)
        attended = torch.zeros_like(tokens)
        for layer in self.layers:
            tokens = layer(tokens, attended, runs, self.bias)
        padded = embedded.new_zeros(texts, length, hidden)
        for run in runs:
            padded[run.first : run.first + run.texts, : run.length] = tokens[run.rows].view(run.texts, run.length, -1)
        return Tokens(padded)


def lean_encoder(model: Any) -> LeanEncoder | None:
    """The encoder of a transformers model in this form; None when it is of no family that is known to fit it."""
    names = _FAMILIES.get(type(model).__name__)
    config = model.config
    activation = _ACTIVATION_OF.get(getattr(config, "hidden_act", getattr(config, "activation", "")))
    decodes = getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False)
    if names is None or activation is None or decodes:
        return None
    return LeanEncoder(model, names, activation)


def _runs(lengths: Sequence[int]) -> Iterator[Run]:
    """Neighbours of equal length together; texts without a token are left out, they have nothing to attend to."""
    first = start = 0
    for length, group in groupby(lengths):
        texts = len(list(group))
        if length:
            yield Run(first, texts, length, start)
        first += texts
        start += texts * length


def rows_for(count: int) -> int:
    """`count` rows, or up to 6 % more: even numbers, 16 from each power of two to the next.

    oneDNN makes kernels for each number of rows that it meets. For all layers together that takes longer than a text,
    and two megabytes which it keeps.
    """
    step = max(2, 1 << max(0, count.bit_length() - 5))
    return -(-count // step) * step


def _linear(layer: nn.Module, name: str) -> nn.Linear:
    found = layer.get_submodule(name)
    if not isinstance(found, nn.Linear):
        raise TypeError(f"{name} is no linear layer")
    return found


def _position_bias(model: Any) -> Tensor | None:
    """What MPNet adds to the scores for the distance of two tokens: (1, heads, longest, longest) float32."""
    if not hasattr(getattr(model, "encoder", None), "relative_attention_bias"):
        return None
    longest = torch.empty(1, model.config.max_position_embeddings, 1)
    with torch.inference_mode():
        bias: Tensor = model.encoder.compute_position_bias(longest).float()
    return bias
