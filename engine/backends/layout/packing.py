"""Several texts in one row, each seeing only itself: hardly any padding, and few shapes whatever the lengths.

Runtimes that prepare kernels for every shape they meet gain most; the others gain the padding. Texts are laid first
fit, longest first; a text longer than a row has a wider one.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import numpy as np

from engine.backends.layout.base import Layout, Pass, Rectangle
from engine.backends.layout.padding import Padding
from engine.scheduling.contract import TokenIds

TEXTS_A_ROW = 16
"""The graph gives each row so many vectors, used or not; a full row of texts of four tokens."""
ROW_TOKENS = 64
"""Rows that texts share are at most so wide: wider ones waste less padding and more attention."""
WIDE_STEP = 32
"""Rows for longer texts come in such steps."""
WIDTH_STEP = 8
"""Widths are multiples of it where shapes must be few."""
LONE_STEP = 16
"""The same for a single row: a small pass costs least where its shape is the last one's (OpenVINO: 0.7 of 1.4 ms)."""
PASS_TOKENS = 30
"""What another pass costs where it needs kernels for another shape, in tokens."""
WIDTH_COST = 0.006
"""What a token costs more for each token that its row is wide: attention."""
_TRIES = 8


class _Row:
    """A row that is being filled: which texts, and how many tokens are free."""

    __slots__ = ("free", "texts", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self.free = width
        self.texts: list[int] = []


class Packing:
    """Lays out one instance's batches for a graph with the inputs `input_ids`, `places` and `texts`.

    All three are (rows, width) int64. `places` counts a text's tokens from 0; `texts` numbers the texts of a row from
    1 and is 0 for padding.
    """

    packs = True

    def __init__(self, pad_token_id: int, *, row_tokens: int = ROW_TOKENS, few_shapes: bool = False) -> None:
        """`few_shapes`: widths are rounded up, for runtimes that prepare kernels by shape."""
        self._pad_token_id = pad_token_id
        self._row_tokens = row_tokens
        self._few_shapes = few_shapes

    def __call__(self, texts: Sequence[TokenIds]) -> Sequence[Pass]:
        """One pass for each width of rows."""
        lengths = list(map(len, texts))
        return [self._pass(rows, texts, lengths) for rows in self._groups(lengths)]

    def _groups(self, lengths: Sequence[int]) -> list[list[_Row]]:
        """The rows of each pass. Where shapes cost, longer texts may be worth wider rows for all, in a single one."""
        groups = _by_width(pack(lengths, self._row_tokens))
        longest = max(lengths, default=0)
        if not self._few_shapes or longest <= self._row_tokens or len(lengths) == 1:
            return groups
        return min(groups, _by_width(pack(lengths, longest)), key=self._cost_tokens)

    def _cost_tokens(self, groups: Sequence[Sequence[_Row]]) -> float:
        """What the passes cost, in tokens of narrow rows."""
        widths = [(len(rows), self._width(rows)) for rows in groups]
        return sum(count * width * (1 + WIDTH_COST * width) + PASS_TOKENS for count, width in widths)

    def _width(self, rows: Sequence[_Row]) -> int:
        """Of a pass over these rows: what the fullest one needs."""
        width = max(row.width - row.free for row in rows)
        if not self._few_shapes:
            return width
        step = LONE_STEP if len(rows) == 1 else WIDTH_STEP
        return -(-width // step) * step

    def _pass(self, rows: Sequence[_Row], texts: Sequence[TokenIds], lengths: Sequence[int]) -> Pass:
        width = self._width(rows)
        ids: list[int] = []
        numbers: list[int] = []
        counts: list[int] = []
        order: list[int] = []
        places: list[int] = []
        for index, row in enumerate(rows):
            for number, text in enumerate(row.texts):
                ids += texts[text]
                counts.append(lengths[text])
                numbers.append(number + 1)
                places.append(index * TEXTS_A_ROW + number)
            order += row.texts
            padding = width - (row.width - row.free)
            ids += [self._pad_token_id] * padding
            counts.append(padding)
            numbers.append(0)
        shape = (len(rows), width)
        lengths_of = np.array(counts, np.int64)
        starts = np.repeat(np.cumsum(lengths_of) - lengths_of, lengths_of)
        inputs: dict[str, Rectangle] = {
            "input_ids": np.array(ids, np.int64).reshape(shape),
            "places": (np.arange(len(ids), dtype=np.int64) - starts).reshape(shape),
            "texts": np.repeat(np.array(numbers, np.int64), lengths_of).reshape(shape),
        }
        return Pass(inputs, order, places)


def layout_of(
    inputs: Collection[str], pad_token_id: int, *, row_tokens: int = ROW_TOKENS, few_shapes: bool = False
) -> Layout:
    """The layout that a graph with these inputs was made for."""
    if "texts" not in inputs:
        return Padding(pad_token_id)
    return Packing(pad_token_id, row_tokens=row_tokens, few_shapes=few_shapes)


ONE_TEXT_A_ROW = ", one text a row: this model cannot share rows"
"""What the evidence adds where the preparer had to export the padded form."""


def pack(lengths: Sequence[int], row_tokens: int) -> list[_Row]:
    """The texts in rows. Those of up to `row_tokens` share rows of one width, the one that wastes least."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    wide: list[_Row] = []
    first_short = next((at for at, text in enumerate(order) if lengths[text] <= row_tokens), len(order))
    for text in order[:first_short]:
        row = _Row(-(-lengths[text] // WIDE_STEP) * WIDE_STEP)
        row.free -= lengths[text]
        row.texts.append(text)
        wide.append(row)
    short = [text for text in order[first_short:] if not _put(wide, text, lengths[text])]
    return wide + _pack_short(short, lengths, row_tokens)


def _pack_short(order: Sequence[int], lengths: Sequence[int], row_tokens: int) -> list[_Row]:
    """First fit into the smallest rectangle that holds them after a few tries; of equals the narrowest."""
    if not order:
        return []
    total, longest = sum(lengths[text] for text in order), lengths[order[0]]
    for _, width, count in sorted(_rectangles(total, longest, len(order), row_tokens))[:_TRIES]:
        rows = [_Row(width) for _ in range(count)]
        if all(_put(rows, text, lengths[text]) for text in order):
            return rows
    rows = []
    for text in order:
        if not _put(rows, text, lengths[text]):
            rows.append(_Row(row_tokens))
            _put(rows, text, lengths[text])
    return rows


def _rectangles(total: int, longest: int, texts: int, row_tokens: int) -> Iterator[tuple[int, int, int]]:
    """(area, width, rows) of rectangles that could hold the texts: of each width the lowest, and one row more."""
    for width in range(-(-max(1, longest) // WIDTH_STEP) * WIDTH_STEP, row_tokens + WIDTH_STEP, WIDTH_STEP):
        least = max(-(-total // width), -(-texts // TEXTS_A_ROW))
        for rows in (least, least + 1):
            yield rows * width, width, rows


def _by_width(rows: list[_Row]) -> list[list[_Row]]:
    rows.sort(key=attrgetter("width"))
    return [list(group) for _, group in groupby(rows, key=attrgetter("width"))]


def _put(rows: Sequence[_Row], text: int, length: int) -> bool:
    """Lays the text into the first row that has room; whether one had."""
    for row in rows:
        if row.free >= length and len(row.texts) < TEXTS_A_ROW:
            row.free -= length
            row.texts.append(text)
            return True
    return False
