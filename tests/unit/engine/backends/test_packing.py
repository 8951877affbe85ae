"""Packed rows: each text is in exactly one row, complete and once, and there is little padding."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.backends.layout.base import IntArray, forward
from engine.backends.layout.packing import TEXTS_PER_ROW, WIDTH_STEP, Packing, layout_of
from engine.backends.layout.padding import Padding

PAD = 99


def texts_of(lengths: Sequence[int]) -> list[list[int]]:
    """Texts whose tokens encode the index of the text and the position in it."""
    return [[1000 * (text + 1) + position for position in range(length)] for text, length in enumerate(lengths)]


def read_back(packing: Packing, texts: Sequence[Sequence[int]]) -> dict[int, list[int]]:
    """The token ids by text, read as the graph reads them: by text number and position."""
    ids_by_text: dict[int, list[int]] = {}
    for one in packing(texts):
        ids, places, numbers = (one.inputs[name] for name in ("input_ids", "places", "texts"))
        assert ids.shape == places.shape == numbers.shape
        assert (ids[numbers == 0] == PAD).all()
        assert isinstance(one.texts, list)
        assert isinstance(one.slots, list)
        for text, slot in zip(one.texts, one.slots, strict=True):
            row, number = divmod(slot, TEXTS_PER_ROW)
            own = numbers[row] == number + 1
            assert places[row][own].tolist() == list(range(own.sum()))
            ids_by_text[text] = ids[row][own].tolist()
    return ids_by_text


@pytest.mark.parametrize("few_shapes", [False, True])
def test_every_text_is_complete_in_one_row_for_any_lengths(few_shapes: bool) -> None:
    chance = random.Random(3)  # noqa: S311 - no secret
    for _ in range(300):
        longest = chance.choice([3, 16, 60, 200, 512])
        texts = texts_of([chance.randint(1, longest) for _ in range(chance.randint(1, 70))])
        assert read_back(Packing(PAD, few_shapes=few_shapes), texts) == dict(enumerate(texts))


@pytest.mark.parametrize(("shortest", "longest", "least"), [(7, 16, 0.93), (5, 60, 0.90), (2, 5, 0.80)])
def test_little_is_padding(shortest: int, longest: int, least: float) -> None:
    chance = random.Random(4)  # noqa: S311 - no secret
    tokens = computed = 0
    for _ in range(100):
        lengths = [chance.randint(shortest, longest) for _ in range(40)]
        tokens += sum(lengths)
        computed += sum(one.computed_tokens for one in Packing(PAD, few_shapes=True)(texts_of(lengths)))
    assert tokens / computed >= least


def test_shapes_are_few_when_few_are_requested() -> None:
    chance = random.Random(5)  # noqa: S311 - no secret
    packing = Packing(PAD, few_shapes=True)
    shapes = set()
    for _ in range(500):
        lengths = [chance.randint(7, 16) for _ in range(chance.randint(1, 44))]
        shapes |= {one.inputs["input_ids"].shape for one in packing(texts_of(lengths))}
    assert len(shapes) <= 100
    assert all(width % WIDTH_STEP == 0 for _, width in shapes)


def test_a_single_text_has_even_fewer_shapes() -> None:
    packing = Packing(PAD, few_shapes=True)
    widths = {packing(texts_of([length]))[0].inputs["input_ids"].shape[1] for length in range(2, 33)}
    assert widths == {16, 32}


def test_a_single_text_has_a_row_of_its_own_length() -> None:
    (only,) = Packing(PAD)(texts_of([11]))
    assert only.inputs["input_ids"].shape == (1, 11)


def test_a_text_longer_than_a_row_has_a_wider_one_that_short_texts_fill_up() -> None:
    shared, wide = Packing(PAD)(texts_of([70, 20, *[60] * 4]))
    assert (wide.texts, wide.inputs["input_ids"].shape) == ([0, 1], (1, 90))
    assert (shared.texts, shared.computed_tokens) == ([2, 3, 4, 5], 240)


def test_with_few_shapes_a_text_slightly_longer_than_a_row_widens_all_rows() -> None:
    texts = texts_of([69, 59, 36, 36, 36, 30])
    (only,) = Packing(PAD, few_shapes=True)(texts)
    assert only.inputs["input_ids"].shape == (4, 72)
    assert len(Packing(PAD)(texts)) == 2, "without few_shapes another pass is cheaper than wider attention"


@pytest.mark.parametrize(
    ("lengths", "shapes"), [([83, 30, 20], [(2, 88)]), ([111, 50, 20], [(2, 56), (1, 112)])], ids=["one", "two"]
)
def test_the_cheaper_of_another_pass_and_wider_rows_is_used(
    lengths: Sequence[int], shapes: list[tuple[int, int]]
) -> None:
    passes = Packing(PAD, few_shapes=True)(texts_of(lengths))
    assert [one.inputs["input_ids"].shape for one in passes] == shapes


def test_a_much_longer_text_has_a_pass_of_its_own() -> None:
    passes = Packing(PAD, few_shapes=True)(texts_of([400, *[30] * 20]))
    assert [one.inputs["input_ids"].shape[0] for one in passes] == [20, 1]


@pytest.mark.parametrize("texts", [6, 16, 44])
def test_rows_of_short_texts_stay_narrow_for_any_number_of_texts(texts: int) -> None:
    chance = random.Random(6)  # noqa: S311 - no secret
    packing = Packing(PAD, few_shapes=True)
    for _ in range(50):
        lengths = [chance.randint(7, 16) for _ in range(texts)]
        assert all(one.inputs["input_ids"].shape[1] <= 64 for one in packing(texts_of(lengths)))


def test_the_inputs_of_the_graph_determine_the_layout() -> None:
    assert isinstance(layout_of(("input_ids", "places", "texts"), 0), Packing)
    assert isinstance(layout_of(("input_ids", "attention_mask"), 0), Padding)


def test_vectors_come_back_in_the_order_of_the_texts() -> None:
    texts = texts_of([5, 70, 9, 30, 64, 2, 200])

    def first_token_of_each_text(inputs: Mapping[str, IntArray]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        ids, places, numbers = inputs["input_ids"], inputs["places"], inputs["texts"]
        norms = np.zeros((len(ids), TEXTS_PER_ROW), np.float32)
        for row, place in zip(*np.nonzero((places == 0) & (numbers > 0)), strict=True):
            norms[row, numbers[row, place] - 1] = ids[row, place]
        return np.repeat(norms[..., None], 3, axis=2), norms

    output = forward(Packing(PAD), first_token_of_each_text, texts, owned=True)
    vectors = output.in_order()
    assert vectors.norms.tolist() == [text[0] for text in texts]
    assert vectors.unit.shape == (7, 3)
    assert output.computed_tokens >= sum(map(len, texts))
