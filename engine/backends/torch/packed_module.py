"""The model for packed rows: attention, positions and pooling are per text.

Its vectors are compared with those of the plain module. A model whose positions or masks work differently is served
with the padded layout instead.
"""

import numpy as np
import torch
from torch import Tensor, nn

from engine.backends.layout.packing import TEXTS_PER_ROW, Packing
from engine.backends.torch.module import SentenceModule
from engine.models.card import ModelCard
from engine.scheduling.contract import TokenIds

MIN_COSINE = 0.99999


class PackedModule(nn.Module):
    """forward(input_ids, places, texts), all (rows, width) int64, in the layout of `Packing`.

    Returns unit (rows, TEXTS_PER_ROW, dim) and norms (rows, TEXTS_PER_ROW), both float32. The values of slots without a
    text are undefined.
    """

    def __init__(self, module: SentenceModule, first_position: int) -> None:
        """`first_position` is the position of the first token: 0, or padding id + 1 for RoBERTa-like models."""
        super().__init__()
        self.module = module
        self.first_position = first_position

    def forward(self, input_ids: Tensor, places: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        other_text = (texts.unsqueeze(2) != texts.unsqueeze(1)).unsqueeze(1)
        # An additive mask, (rows, 1, width, width): transformers uses a mask of four axes unchanged.
        mask = torch.zeros(other_text.shape).masked_fill(other_text, torch.finfo(torch.float32).min)
        tokens = self.module.transformer(
            input_ids=input_ids, attention_mask=mask, position_ids=places + self.first_position
        ).last_hidden_state
        membership = texts.unsqueeze(1) == torch.arange(1, TEXTS_PER_ROW + 1).view(1, -1, 1)
        pooled = torch.cat([pool(mode, tokens, membership, places) for mode in self.module.pooling], dim=-1)
        for layer in self.module.dense:
            pooled = layer(pooled)
        vectors = pooled.float()
        norms = vectors.norm(dim=-1)
        return vectors / norms.clamp(min=1e-12).unsqueeze(-1), norms


def pool(mode: str, tokens: Tensor, membership: Tensor, places: Tensor) -> Tensor:
    """Returns one vector per text, (rows, texts, hidden), from `tokens` (rows, width, hidden).

    `membership` (rows, texts, width) is True where a token belongs to a text. The modes are those of `module.pool`.
    """
    if mode == "max":
        return tokens.unsqueeze(1).masked_fill(~membership.unsqueeze(-1), float("-inf")).max(dim=2).values
    weights = membership.to(tokens.dtype)
    count = weights.sum(dim=2, keepdim=True)
    positions = places.unsqueeze(1).to(tokens.dtype)
    if mode == "cls":
        return (weights * (positions == 0)) @ tokens
    if mode == "lasttoken":
        return (weights * (positions == count - 1)) @ tokens
    if mode == "weightedmean":
        weights = weights * (positions + 1)
        count = weights.sum(dim=2, keepdim=True)
    divisor = count.clamp(min=1e-9)
    return (weights @ tokens) / (divisor.sqrt() if mode == "mean_sqrt_len_tokens" else divisor)


def packed_module(module: SentenceModule, card: ModelCard, texts: list[TokenIds]) -> PackedModule | None:
    """Returns the module for packed rows, or None if its vectors for `texts` differ from those of `module`."""
    (only,) = Packing(card.pad_token_id, few_shapes=False)([text[:32] for text in texts])
    inputs = [torch.from_numpy(np.ascontiguousarray(only.inputs[name])) for name in ("input_ids", "places", "texts")]
    order = only.texts
    with torch.inference_mode():
        expected = torch.cat([module(ids := torch.tensor([texts[i][:32]]), torch.ones_like(ids))[0] for i in order])
        for first_position in (0, card.pad_token_id + 1):
            candidate = PackedModule(module, first_position).eval()
            try:
                unit, _ = candidate(*inputs)
            except (TypeError, ValueError, RuntimeError, IndexError):  # no support for such masks or positions
                continue
            vectors = unit.flatten(0, 1)[torch.tensor(only.slots)]
            if float((vectors * expected).sum(dim=1).min()) >= MIN_COSINE:
                return candidate
    return None
