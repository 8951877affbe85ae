"""One chart: series over time, with gaps where no interval was measured and a marker for each switch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from console.model.load import Point
from console.model.switch import Marker
from console.tui import number_format
from console.tui.chart.axis import Axis, linear, logarithmic
from console.tui.chart.braille import SOLID, Canvas
from console.tui.styled_text import Line, Lines, Span, clean

GUTTER = 6
"""Cells left of the plot: five for the label and one for the axis."""
JOIN_S = 1.75
"""Seconds between two points above which the curve has a gap; an interval lasts one second."""
ALL_MIN_S = 30.0
"""Minimum time span in seconds of a chart that shows all data."""
FILLED = {"": "fill", "grid": "fill", "marker": "fillmark"}
"""Roles below a filled curve, which have a tinted background."""


@dataclass(frozen=True, slots=True)
class Series:
    """One curve. `faint`: its role at points with fewer than `floor` requests. `filled`: tinted below the curve."""

    name: str
    value: Callable[[Point], float | None]
    role: str
    mark: str = "━"
    pattern: tuple[int, ...] = SOLID
    faint: str = ""
    floor: int = 0
    filled: bool = False

    def role_at(self, point: Point) -> str:
        """The role of a point."""
        return self.faint if self.faint and point.n < self.floor else self.role


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The time range of a chart in session seconds."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


def time_span(points: Sequence[Point], span_s: float, until_s: float | None = None) -> TimeSpan:
    """Returns the last `span_s` seconds (0: all) up to `until_s`, or up to the newest point."""
    end = points[-1].time_s if points else 0.0
    if span_s and until_s is not None and points and points[0].time_s <= until_s < end:
        end = until_s
    if span_s:
        return TimeSpan(end - span_s, end)
    first = points[0].time_s if points else 0.0
    return TimeSpan(min(first, end - ALL_MIN_S), end)


def visible(points: Sequence[Point], span: TimeSpan) -> list[Point]:
    """Returns the points inside the span and the one before it, so that the curve begins at the edge."""
    last = len(points)
    while last > 0 and points[last - 1].time_s > span.end_s:
        last -= 1
    first = last
    while first > 0 and points[first - 1].time_s >= span.start_s:
        first -= 1
    return list(points[max(0, first - 1) : last])


def fit_axis(points: Sequence[Point], series: Sequence[Series], rows: int, *, log: bool, before: Axis | None) -> Axis:
    """Returns an axis for the visible points: `before` while it fits, else a new one."""
    values = [value for point in points for curve in series if (value := curve.value(point)) is not None]
    if log:
        positive = [value for value in values if value > 0]
        return logarithmic(min(positive, default=1.0), max(positive, default=10.0), rows, before)
    return linear(max(values, default=0.0) or 1.0, rows, before)


def plot(
    points: Sequence[Point],
    series: Sequence[Series],
    axis: Axis,
    span: TimeSpan,
    markers: Sequence[Marker],
    *,
    width: int,
    height: int,
    long_labels: bool,
) -> Lines:
    """Returns the chart as `height` lines of `width` cells. Later series are drawn over earlier ones."""
    cols = width - GUTTER
    if cols < 4 or height < 2:
        return ()
    canvas = Canvas(cols, height)
    for curve in series:
        _draw_curve(canvas, points, curve, axis, span)
    columns = {marker_column(marker, span, cols): marker for marker in markers}
    columns = {col: marker for col, marker in columns.items() if 0 <= col < cols}
    labels = _labels(columns, cols, long=long_labels)
    ticks = _tick_rows(axis, height)
    filled = canvas.heights() if any(curve.filled for curve in series) else [height] * cols
    return tuple(
        _row(canvas, row, ticks.get(row), columns, labels if row == 0 else {}, filled) for row in range(height)
    )


def marker_column(marker: Marker, span: TimeSpan, cols: int) -> int:
    """The column of a marker; outside 0..cols-1 if it is not in the time range."""
    return int((marker.time_s - span.start_s) / span.length_s * (cols * 2 - 1)) // 2


def _draw_curve(canvas: Canvas, points: Sequence[Point], curve: Series, axis: Axis, span: TimeSpan) -> None:
    right, bottom = canvas.cols * 2 - 1, canvas.rows * 4 - 1
    last: tuple[int, int] | None = None
    last_time_s = 0.0
    phase = 0
    for point in points:
        value = curve.value(point)
        if value is None:
            last = None
            continue
        at = (
            round((point.time_s - span.start_s) / span.length_s * right),
            bottom - round(axis.share(value) * bottom),
        )
        if last is None or point.time_s - last_time_s > JOIN_S:
            phase = 0
            if at[0] >= 0:
                canvas.dot(*at, curve.role_at(point))
        else:
            phase = canvas.stroke(last, at, curve.role_at(point), curve.pattern, phase)
        last, last_time_s = at, point.time_s


def _tick_rows(axis: Axis, rows: int) -> dict[int, str]:
    """The tick labels by row. Of two ticks in one row the higher one is labelled."""
    bottom = rows * 4 - 1
    return {(bottom - round(axis.share(tick) * bottom)) // 4: number_format.short(tick) for tick in axis.ticks}


def _labels(columns: dict[int, Marker], cols: int, *, long: bool) -> dict[int, str]:
    """The labels of markers in the top row by their first column, cut to what fits before the next marker."""
    labels: dict[int, str] = {}
    ordered = sorted(columns)
    for index, col in enumerate(ordered):
        marker = columns[col]
        room = (ordered[index + 1] if index + 1 < len(ordered) else cols) - col - 2
        small = marker.name
        full = f"{small} {clean(marker.label)}".rstrip()
        text = full if long and len(full) <= room else small
        if len(text) <= room:
            labels[col + 1] = text
        elif col - len(small) >= 0 and not any(col - len(small) <= other < col for other in ordered):
            labels[col - len(small)] = small
    return labels


def _row(
    canvas: Canvas, row: int, tick: str | None, columns: dict[int, Marker], labels: dict[int, str], filled: list[int]
) -> Line:
    cells: list[tuple[str, str]] = []
    for col in range(canvas.cols):
        char, role = canvas.cell(col, row)
        if not char and col in columns:
            char, role = "┊", "marker"
        elif not char and tick is not None and col % 2 == 0:
            char, role = "┄", "grid"
        if row > filled[col]:
            role = FILLED.get(role, role)
        cells.append((char or " ", role or "grid"))
    for start, text in labels.items():
        for offset, char in enumerate(text):
            cells[start + offset] = (char, "marker")
    merged = (Span("".join(char for char, _ in run), role) for role, run in _runs(cells))
    label = f"{tick or '':>5}"
    return (Span(label, "axis"), Span("┤" if tick else "│", "grid"), *merged)


def _runs(cells: list[tuple[str, str]]) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(role, list(run)) for role, run in groupby(cells, key=lambda cell: cell[1])]
