"""The model for rows that hold several texts: attention keeps to each text, positions begin anew, pooling is per text.

Checked against the plain module before it is used, so that a family whose positions or masks work otherwise is served
a text a row instead.
"""

import numpy as np
import torch
from torch import Tensor, nn

from engine.backends.layout.packing import TEXTS_A_ROW, Packing
from engine.backends.torch.module import SentenceModule
from engine.models.card import ModelCard
from engine.scheduling.contract import TokenIds

MIN_COSINE = 0.99999


class PackedModule(nn.Module):
    """forward(input_ids, places, texts), all (rows, width) int64, as `Packing` lays them out.

    Gives unit (rows, TEXTS_A_ROW, dim) and norms (rows, TEXTS_A_ROW), both float32; places without a text hold nothing
    of use.
    """

    def __init__(self, module: SentenceModule, first_position: int) -> None:
        """`first_position`: the number of the first token's position; RoBERTa's count on from the padding id."""
        super().__init__()
        self.module = module
        self.first_position = first_position

    def forward(self, input_ids: Tensor, places: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        strangers = (texts.unsqueeze(2) != texts.unsqueeze(1)).unsqueeze(1)
        # An additive mask, (rows, 1, width, width): transformers takes one of four axes as it is.
        mask = torch.zeros(strangers.shape).masked_fill(strangers, torch.finfo(torch.float32).min)
        tokens = self.module.transformer(
            input_ids=input_ids, attention_mask=mask, position_ids=places + self.first_position
        ).last_hidden_state
        members = texts.unsqueeze(1) == torch.arange(1, TEXTS_A_ROW + 1).view(1, -1, 1)
        pooled = torch.cat([pool(mode, tokens, members, places) for mode in self.module.pooling], dim=-1)
        for layer in self.module.dense:
            pooled = layer(pooled)
        vectors = pooled.float()
        norms = vectors.norm(dim=-1)
        return vectors / norms.clamp(min=1e-12).unsqueeze(-1), norms


def pool(mode: str, tokens: Tensor, members: Tensor, places: Tensor) -> Tensor:
    """One vector a text, (rows, texts, hidden), from `tokens` (rows, width, hidden).

    `members` (rows, texts, width) says whose a token is. The modes are those of `module.pool`.
    """
    if mode == "max":
        return tokens.unsqueeze(1).masked_fill(~members.unsqueeze(-1), float("-inf")).max(dim=2).values
    weights = members.to(tokens.dtype)
    count = weights.sum(dim=2, keepdim=True)
    counted = places.unsqueeze(1).to(tokens.dtype)
    if mode == "cls":
        return (weights * (counted == 0)) @ tokens
    if mode == "lasttoken":
        return (weights * (counted == count - 1)) @ tokens
    if mode == "weightedmean":
        weights = weights * (counted + 1)
        count = weights.sum(dim=2, keepdim=True)
    divisor = count.clamp(min=1e-9)
    return (weights @ tokens) / (divisor.sqrt() if mode == "mean_sqrt_len_tokens" else divisor)


def packed(module: SentenceModule, card: ModelCard, texts: list[TokenIds]) -> PackedModule | None:
    """The module for packed rows, proven on `texts`; None when it would not give the same vectors."""
    (only,) = Packing(card.pad_token_id, few_shapes=False)([text[:32] for text in texts])
    inputs = [torch.from_numpy(np.ascontiguousarray(only.inputs[name])) for name in ("input_ids", "places", "texts")]
    order = only.texts
    with torch.inference_mode():
        expected = torch.cat([module(ids := torch.tensor([texts[at][:32]]), torch.ones_like(ids))[0] for at in order])
        for first_position in (0, card.pad_token_id + 1):
            made = PackedModule(module, first_position).eval()
            try:
                unit, _ = made(*inputs)
            except (TypeError, ValueError, RuntimeError, IndexError):  # the family takes no such mask or positions
                continue
            found = unit.flatten(0, 1)[torch.tensor(only.places)]
            if float((found * expected).sum(dim=1).min()) >= MIN_COSINE:
                return made
    return None
