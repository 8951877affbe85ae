"""The arguments of `benchmarks.passes`, and its table of ratios to the first variant."""

import pytest

from benchmarks import passes
from engine.backends.base import Cell


def test_a_cell_without_a_recipe_has_the_default_one() -> None:
    assert passes.cell_of("onnx/int8") == Cell(backend="onnx", precision="int8", recipe="smoothed", device="cpu")
    assert passes.cell_of("onnx/int8/dynamic") == Cell(backend="onnx", precision="int8", recipe="dynamic", device="cpu")


@pytest.mark.parametrize("words", ["onnx", "onnx/int9", "onnx/int8/magic"])
def test_an_invalid_cell_is_refused_with_the_expected_format(words: str) -> None:
    with pytest.raises(ValueError, match="write BACKEND/PRECISION"):
        passes.cell_of(words)


def test_texts_are_distinct_numbers_above_0() -> None:
    assert passes.sizes_of("1,16,1") == [1, 16]
    for words in ("", "0", "1,,2", "1,x", "-1"):
        with pytest.raises(ValueError, match="write --texts"):
            passes.sizes_of(words)


def test_a_variant_is_compared_with_the_first_one_at_the_same_number_of_texts() -> None:
    rates = {(1, "a"): [100.0, 200.0], (1, "b"): [50.0, 100.0], (6, "a"): [10.0, 10.0], (6, "b"): [20.0, 20.0]}
    assert passes.table(rates, [1, 6], ["a", "b"]).splitlines()[2:] == [
        "| 1 | a | 150 | 1 |",
        "| 1 | b | 75 | 0.50 [0.50, 0.50] |",
        "| 6 | a | 10 | 1 |",
        "| 6 | b | 20 | 2.00 [2.00, 2.00] |",
    ]
