"""The padded layout, and reuse of its buffers."""

import numpy as np

from engine.backends.layout.base import IntArray
from engine.backends.layout.padding import Padding


def inputs_of(padding: Padding, texts: list[list[int]]) -> tuple[IntArray, IntArray]:
    (only,) = padding(texts)
    return only.inputs["input_ids"], only.inputs["attention_mask"]


def test_shorter_texts_are_padded_with_the_models_own_id_and_masked() -> None:
    ids, mask = inputs_of(Padding(pad_token_id=7), [[1, 2, 3], [4]])
    assert ids.tolist() == [[1, 2, 3], [4, 7, 7]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert ids.dtype == mask.dtype == np.int64
    assert ids.flags.c_contiguous


def test_a_batch_that_fits_reuses_the_buffers_without_values_of_the_previous_batch() -> None:
    padding = Padding(pad_token_id=0)
    large, _ = inputs_of(padding, [[9] * 8] * 4)
    ids, mask = inputs_of(padding, [[1, 2], [3]])
    assert np.shares_memory(large, ids)
    assert ids.tolist() == [[1, 2], [3, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]
