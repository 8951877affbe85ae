"""Packs several texts into a row, where each attends only to itself: little padding and few shapes.

Runtimes that prepare kernels for every shape gain most; the others gain from less padding. Texts are placed first fit,
longest first. A text longer than a row gets a wider row.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import numpy as np

from engine.backends.layout.base import IntArray, Layout, Pass
from engine.backends.layout.padding import Padding
from engine.scheduling.contract import TokenIds

TEXTS_PER_ROW = 16
"""Vectors that the graph computes per row, used or not: enough for a row of texts of four tokens."""
ROW_TOKENS = 64
"""Maximum width of shared rows. Wider rows need less padding but more computation for attention."""
WIDE_STEP = 32
"""Widths of rows for longer texts are multiples of it."""
WIDTH_STEP = 8
"""Widths are multiples of it when `few_shapes` is set."""
SINGLE_ROW_STEP = 16
"""The same for a pass of one row.

A small pass takes 0.7 ms instead of 1.4 ms with OpenVINO if its shape equals that of the previous pass.
"""
PASS_COST_TOKENS = 30
"""Cost, in tokens, of another pass that needs kernels for another shape."""
WIDTH_COST = 0.006
"""Relative cost of a token per token of row width, caused by attention."""
_TRIES = 8


class _Row:
    """A row being filled: its texts, and the number of free tokens."""

    __slots__ = ("free", "texts", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self.free = width
        self.texts: list[int] = []


class Packing:
    """The layout of one instance for a graph with the inputs `input_ids`, `places` and `texts`.

    All three are (rows, width) int64. `places` is the position of a token in its text, from 0; `texts` is the number
    of the text in its row, from 1, and 0 for padding.
    """

    packs = True

    def __init__(self, pad_token_id: int, *, row_tokens: int = ROW_TOKENS, few_shapes: bool = False) -> None:
        """`few_shapes` rounds widths up, for runtimes that prepare kernels by shape."""
        self._pad_token_id = pad_token_id
        self._row_tokens = row_tokens
        self._few_shapes = few_shapes

    def __call__(self, texts: Sequence[TokenIds]) -> Sequence[Pass]:
        """Returns one pass for each width of rows."""
        lengths = list(map(len, texts))
        return [self._pass(rows, texts, lengths) for rows in self._groups(lengths)]

    def _groups(self, lengths: Sequence[int]) -> list[list[_Row]]:
        """Returns the rows of each pass.

        With `few_shapes`, a single pass of rows as wide as the longest text is used if it costs less.
        """
        groups = _by_width(pack(lengths, self._row_tokens))
        longest = max(lengths, default=0)
        if not self._few_shapes or longest <= self._row_tokens or len(lengths) == 1:
            return groups
        return min(groups, _by_width(pack(lengths, longest)), key=self._cost_tokens)

    def _cost_tokens(self, groups: Sequence[Sequence[_Row]]) -> float:
        """Returns the cost of the passes, in tokens of narrow rows."""
        widths = [(len(rows), self._width(rows)) for rows in groups]
        return sum(count * width * (1 + WIDTH_COST * width) + PASS_COST_TOKENS for count, width in widths)

    def _width(self, rows: Sequence[_Row]) -> int:
        """Returns the width of a pass over these rows: that of the fullest row, rounded up with `few_shapes`."""
        width = max(row.width - row.free for row in rows)
        if not self._few_shapes:
            return width
        step = SINGLE_ROW_STEP if len(rows) == 1 else WIDTH_STEP
        return -(-width // step) * step

    def _pass(self, rows: Sequence[_Row], texts: Sequence[TokenIds], lengths: Sequence[int]) -> Pass:
        width = self._width(rows)
        ids: list[int] = []
        numbers: list[int] = []
        counts: list[int] = []
        order: list[int] = []
        slots: list[int] = []
        for index, row in enumerate(rows):
            for number, text in enumerate(row.texts):
                ids += texts[text]
                counts.append(lengths[text])
                numbers.append(number + 1)
                slots.append(index * TEXTS_PER_ROW + number)
            order += row.texts
            padding = width - (row.width - row.free)
            ids += [self._pad_token_id] * padding
            counts.append(padding)
            numbers.append(0)
        shape = (len(rows), width)
        spans = np.array(counts, np.int64)
        starts = np.repeat(np.cumsum(spans) - spans, spans)
        inputs: dict[str, IntArray] = {
            "input_ids": np.array(ids, np.int64).reshape(shape),
            "places": (np.arange(len(ids), dtype=np.int64) - starts).reshape(shape),
            "texts": np.repeat(np.array(numbers, np.int64), spans).reshape(shape),
        }
        return Pass(inputs, order, slots)


def layout_of(
    inputs: Collection[str], pad_token_id: int, *, row_tokens: int = ROW_TOKENS, few_shapes: bool = False
) -> Layout:
    """Returns the layout for a graph with these inputs."""
    if "texts" not in inputs:
        return Padding(pad_token_id)
    return Packing(pad_token_id, row_tokens=row_tokens, few_shapes=few_shapes)


NOT_PACKED = ", one text per row: this model does not support packing"
"""Suffix of the evidence of a graph that was exported with the padded layout."""


def pack(lengths: Sequence[int], row_tokens: int) -> list[_Row]:
    """Packs texts of the given lengths, in tokens, into rows.

    Texts of up to `row_tokens` share rows of one width, the one with the least padding.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    wide: list[_Row] = []
    first_short = next((index for index, text in enumerate(order) if lengths[text] <= row_tokens), len(order))
    for text in order[:first_short]:
        row = _Row(-(-lengths[text] // WIDE_STEP) * WIDE_STEP)
        row.free -= lengths[text]
        row.texts.append(text)
        wide.append(row)
    short = [text for text in order[first_short:] if not _first_fit(wide, text, lengths[text])]
    return wide + _pack_short(short, lengths, row_tokens)


def _pack_short(order: Sequence[int], lengths: Sequence[int], row_tokens: int) -> list[_Row]:
    """Packs texts first fit into the smallest (width, rows) that holds them, after at most _TRIES attempts.

    Of equal areas the narrowest is tried first.
    """
    if not order:
        return []
    total, longest = sum(lengths[text] for text in order), lengths[order[0]]
    for _, width, count in sorted(_rectangles(total, longest, len(order), row_tokens))[:_TRIES]:
        rows = [_Row(width) for _ in range(count)]
        if all(_first_fit(rows, text, lengths[text]) for text in order):
            return rows
    rows = []
    for text in order:
        if not _first_fit(rows, text, lengths[text]):
            rows.append(_Row(row_tokens))
            _first_fit(rows, text, lengths[text])
    return rows


def _rectangles(total: int, longest: int, texts: int, row_tokens: int) -> Iterator[tuple[int, int, int]]:
    """Yields (area, width, rows) that could hold the texts: the fewest rows for each width, and one row more."""
    for width in range(-(-max(1, longest) // WIDTH_STEP) * WIDTH_STEP, row_tokens + WIDTH_STEP, WIDTH_STEP):
        fewest = max(-(-total // width), -(-texts // TEXTS_PER_ROW))
        for rows in (fewest, fewest + 1):
            yield rows * width, width, rows


def _by_width(rows: list[_Row]) -> list[list[_Row]]:
    rows.sort(key=attrgetter("width"))
    return [list(group) for _, group in groupby(rows, key=attrgetter("width"))]


def _first_fit(rows: Sequence[_Row], text: int, length: int) -> bool:
    """Places the text in the first row with enough free tokens. Returns False if there is none."""
    for row in rows:
        if row.free >= length and len(row.texts) < TEXTS_PER_ROW:
            row.free -= length
            row.texts.append(text)
            return True
    return False
