"""Token ids of a batch laid out as two padded rectangles, in buffers that are used again and again."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.scheduling.work import TokenIds

Rectangle = NDArray[np.int64]


class Padding:
    """One instance's input buffers. They grow to the largest batch seen; each call overwrites the one before."""

    def __init__(self, pad_token_id: int) -> None:
        # The model's own padding id, not any: RoBERTa-like models count positions by the ids that are not padding.
        self._pad_token_id = pad_token_id
        self._ids = np.empty(0, np.int64)
        self._mask = np.empty(0, np.int64)

    def __call__(self, texts: Sequence[TokenIds]) -> tuple[Rectangle, Rectangle]:
        """Two (n, longest) int64 views, ids and attention mask (1 = a token), valid until the next call."""
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
        return ids, mask
