"""Pads each text to the longest one, one text per row: for graphs with `input_ids` and `attention_mask`."""

from collections.abc import Sequence

import numpy as np

from engine.backends.layout.base import Pass
from engine.scheduling.contract import TokenIds


class Padding:
    """The input buffers of one instance. They grow to the largest batch; each call overwrites the previous one."""

    packs = False

    def __init__(self, pad_token_id: int) -> None:
        # It must be the padding id of the model: RoBERTa-like models derive positions from ids that are not padding.
        self._pad_token_id = pad_token_id
        self._ids = np.empty(0, np.int64)
        self._mask = np.empty(0, np.int64)

    def __call__(self, texts: Sequence[TokenIds]) -> Sequence[Pass]:
        """Returns one pass over two (n, longest) int64 views: ids and attention mask (1 = a token)."""
        longest = max(map(len, texts))
        size = len(texts) * longest
        if size > self._ids.size:
            self._ids, self._mask = np.empty(size, np.int64), np.empty(size, np.int64)
        ids = self._ids[:size].reshape(len(texts), longest)
        mask = self._mask[:size].reshape(len(texts), longest)
        ids.fill(self._pad_token_id)
        mask.fill(0)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        return (Pass({"input_ids": ids, "attention_mask": mask}, range(len(texts)), range(len(texts))),)
