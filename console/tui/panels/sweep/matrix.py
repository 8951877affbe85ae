"""A sweep as a matrix: loads by deployments, with the fidelity of each deployment and the verdict of each cell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from console.model.engine import Deployment
from console.model.frame import Frame
from console.sweep.labels import load_of
from console.sweep.point import SweepPoint
from console.sweep.state import PointState, PointStatus, SweepState
from console.tui import number_format
from console.tui.panels import marks
from console.tui.styled_text import BLANK, Line, Span, clean, clip, line, width_of

_BACKENDS = ("torch", "onnx", "openvino", "")
_PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8", "int4", "")
MIN_COLUMN, MAX_COLUMN, BOTH_FROM = 9, 24, 17
"""Cells of a column; from BOTH_FROM on it shows both figures."""
MAX_LABEL = 26
"""Cells of the row labels."""


class Values(StrEnum):
    """The figures that the matrix shows of a cell."""

    BOTH = "texts/s and p95 ms"
    TEXTS = "texts/s"
    P95 = "p95 ms"


def column_labels(cell: SweepPoint) -> tuple[str, str, str]:
    """Backend, precision with recipe, and the knobs that the cell sets."""
    target = cell.target
    knobs = (
        {None: "", True: "coal. on", False: "coal. off"}[cell.coalesce],
        f"{cell.max_batch_tokens} tokens" if cell.max_batch_tokens is not None else "",
        f"wait {cell.max_wait_ms:g} ms" if cell.max_wait_ms is not None else "",
        f"{target.instances or 'auto'}×{target.threads or 'auto'}" if target.instances or target.threads else "",
    )
    precision = "·".join(part for part in (target.precision, target.recipe) if part)
    return clean(target.backend) or "as it is", clean(precision), ", ".join(part for part in knobs if part)


def row_label(cell: SweepPoint) -> str:
    """The load and the number of the repeat."""
    plain = replace(cell, target=Deployment(), coalesce=None, max_batch_tokens=None, max_wait_ms=None)
    return clean(load_of(plain))


@dataclass(frozen=True, slots=True)
class SweepGrid:
    """The layout of the matrix. `indices[row][column]`: index of the cell in the sweep; None if it has no such cell."""

    columns: tuple[tuple[str, str, str], ...]
    rows: tuple[str, ...]
    indices: tuple[tuple[int | None, ...], ...]

    def find(self, index: int) -> tuple[int, int]:
        """Row and column of a cell; the first ones if the grid does not have it."""
        for row, indices in enumerate(self.indices):
            if index in indices:
                return row, indices.index(index)
        return 0, 0


def grid_of(cells: Sequence[PointState]) -> SweepGrid:
    """Returns the grid, with deployments ordered from torch fp32 on and loads from small to large."""
    ordered_columns = sorted({_column_key(one.point): column_labels(one.point) for one in cells}.items())
    ordered_rows = sorted({_row_key(one.point): row_label(one.point) for one in cells}.items())
    at = {(_row_key(one.point), _column_key(one.point)): index for index, one in enumerate(cells)}
    return SweepGrid(
        columns=tuple(words for _, words in ordered_columns),
        rows=tuple(words for _, words in ordered_rows),
        indices=tuple(tuple(at.get((row, column)) for column, _ in ordered_columns) for row, _ in ordered_rows),
    )


def _column_key(cell: SweepPoint) -> tuple[object, ...]:
    target = cell.target
    backend = _BACKENDS.index(target.backend) if target.backend in _BACKENDS else len(_BACKENDS)
    precision = _PRECISIONS.index(target.precision) if target.precision in _PRECISIONS else len(_PRECISIONS)
    coalesce = {None: 0, False: 1, True: 2}[cell.coalesce]
    knobs = (coalesce, cell.max_batch_tokens or 0, cell.max_wait_ms or 0.0)
    return (backend, precision, target.recipe, *knobs, target.instances, target.threads, target.device, target.model)


def _row_key(cell: SweepPoint) -> tuple[object, ...]:
    load = cell.run.load
    loop = (load.is_open, load.rate, load.arrival)
    return (load.workload, load.corpus, load.stream, load.batch, *loop, load.concurrency, cell.repeat)


@dataclass(frozen=True, slots=True)
class Widths:
    """Widths of the labels and of a column in terminal cells, and the visible columns: `count` from `first` on."""

    label: int
    column: int
    first: int
    count: int


def widths(grid: SweepGrid, width: int, at_column: int) -> Widths:
    """Returns columns as wide as there is room for. Those that do not fit are scrolled to with the cursor."""
    label = min(MAX_LABEL, max((len(words) for words in grid.rows), default=4) + 2)
    room = max(MIN_COLUMN, width - label)
    wanted = max([MIN_COLUMN, *(len(part) + 2 for words in grid.columns for part in words[:2])])
    column = max(MIN_COLUMN, min(MAX_COLUMN, room // max(1, len(grid.columns))))
    column = column if column >= min(wanted, BOTH_FROM) else max(MIN_COLUMN, min(wanted, column))
    count = max(1, min(len(grid.columns), room // column))
    return Widths(label, column, max(0, min(at_column - count + 1, len(grid.columns) - count)), count)


def head(grid: SweepGrid, state: SweepState, fit: Widths) -> list[Line]:
    """The header rows: the deployments and the fidelity of each."""
    shown = grid.columns[fit.first : fit.first + fit.count]
    rows: list[Line] = []
    for part in range(3):
        if part < 2 or any(words[2] for words in shown):
            spans = [Span(" " * fit.label)]
            for words in shown:
                text = clip(line(Span(words[part], "strong" if part < 2 else "muted")), fit.column - 1)
                spans += [Span(" " * (fit.column - width_of(text))), *text]
            rows.append(tuple(spans))
    spans = [Span("fidelity".ljust(fit.label), "label")]
    for column in range(fit.first, fit.first + fit.count):
        drawn = marks.cosine(_fidelity(grid, state, column))
        spans += [Span(" " * max(0, fit.column - width_of(drawn))), *drawn]
    return [*rows, tuple(spans)]


def _fidelity(grid: SweepGrid, state: SweepState, column: int) -> float | None:
    indices = (row[column] for row in grid.indices)
    measured = (state.points[index].figures for index in indices if index is not None)
    return next((one.fidelity for one in measured if one is not None and one.fidelity is not None), None)


def best(state: SweepState, values: Values) -> int | None:
    """Returns the index of the cell with the highest throughput, or the lowest p95, among those with verdict `ok`."""
    trusted = [
        (index, one.figures)
        for index, one in enumerate(state.points)
        if one.status is PointStatus.DONE and one.figures is not None and one.figures.verdict == "ok"
    ]
    if values is Values.P95:
        low = [(figures.p95_ms, index) for index, figures in trusted if figures.p95_ms is not None]
        return min(low)[1] if low else None
    high = [(figures.texts_per_s, index) for index, figures in trusted if figures.texts_per_s is not None]
    return max(high)[1] if high else None


def value(one: PointState, frame: Frame, values: Values, width: int) -> Line:
    """The figures of a cell and the mark of its verdict, or its status."""
    if one.status is PointStatus.RUNNING:
        rate = frame.window.texts_per_s if frame.load.running else None
        return line(Span("▶ ", "accent"), Span(number_format.count(rate) if rate is not None else "…", "accent"))
    if one.status is PointStatus.WAITING:
        return line(Span("·", "muted"))
    if one.status is PointStatus.SKIPPED:
        return line(Span("– skipped" if width >= BOTH_FROM else "–", "muted"))
    if one.status is PointStatus.FAILED or one.figures is None:
        return line(Span("✗ failed" if width >= BOTH_FROM else "✗", "bad"))
    figures = one.figures
    texts = Span(number_format.count(figures.texts_per_s), "strong")
    p95 = Span(number_format.ms(figures.p95_ms), "strong" if values is Values.P95 else "value")
    shown = {Values.TEXTS: (texts,), Values.P95: (p95,), Values.BOTH: (texts, Span(p95.text.rjust(8), "value"))}[values]
    mark, role = ("⚠", "warn") if one.fell_back else (marks.VERDICTS.get(figures.verdict, ("?", "", "warn"))[::2])
    if figures.slo_missed and mark == "✓":
        mark, role = ">", "warn"
    return line(*shown, Span(f" {mark}", role))


def matrix_row(
    grid: SweepGrid, state: SweepState, frame: Frame, row: int, fit: Widths, values: Values, cursor: tuple[int, int]
) -> Line:
    """The row of one load, with the visible deployments."""
    star = best(state, values)
    label = clip(line(Span(grid.rows[row], "strong" if row == cursor[0] else "label")), fit.label - 1)
    spans: list[Span] = [*label, Span(" " * (fit.label - width_of(label)))]
    for column in range(fit.first, fit.first + fit.count):
        index = grid.indices[row][column]
        drawn = BLANK if index is None else value(state.points[index], frame, values, fit.column)
        if index is not None and index == star:
            drawn = (Span("★", "accent"), *drawn)
        drawn = clip(drawn, fit.column - 1)
        click = f"screen.click_at({row}, {column})"
        pad = Span(" " * (fit.column - 1 - width_of(drawn)))
        cell = [Span(" "), *(span._replace(action=click) for span in (pad, *drawn))]
        if (row, column) == cursor:
            cell = [cell[0], *(span._replace(role="cursor") for span in cell[1:])]
        spans += cell
    return tuple(spans)


LEGEND = (
    "✓ ok  ~ not steady  ! client bound  > SLO missed  ✗ failed/errors  ⚠ fell back  – skipped  · waiting  ▶ running"
    "  ★ best"
)
