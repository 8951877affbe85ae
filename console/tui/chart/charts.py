"""The three charts of the Live screen: their series, titles and axes."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.geometry import Size

from console.model.engine import EngineState
from console.model.frame import Frame
from console.model.load import P95_FLOOR, P99_FLOOR, Point
from console.tui.chart.braille import DASHED, DOTTED
from console.tui.chart.plot import GUTTER, Series, TimeSpan, fit_axis, plot, time_span, visible
from console.tui.styled_text import Line, Lines, Span, StyledText
from console.tui.view import View

if TYPE_CHECKING:
    from console.tui.chart.axis import Axis

THROUGHPUT = (Series("texts/s", lambda point: point.texts_per_s, "series1", filled=True),)
LATENCY = (
    Series("p99", lambda point: point.p99_ms, "series3", "┈", DOTTED, "faint3", P99_FLOOR),
    Series("p95", lambda point: point.p95_ms, "series2", "┅", DASHED, "faint2", P95_FLOOR),
    Series("p50", lambda point: point.p50_ms, "series1", "━"),
)
QUEUE = (
    Series("queued", lambda point: point.queued_items, "series3", "┈", DOTTED),
    Series("in flight", lambda point: point.in_flight_requests, "series2", "┅", DASHED),
    Series("texts/batch", lambda point: point.mean_batch_items, "series1", "━"),
)
AXIS_ROW_FROM = 9
"""Height in rows from which a chart has a row with time labels."""


class Chart:
    """A chart of its series. It remembers the last axis, so that the scale does not change with every value."""

    def __init__(self, name: str, series: Sequence[Series], *, log: bool = False, labels: bool = False) -> None:
        self.name = name
        self.series = series
        self._may_log = log
        self._labels = labels
        self._axis: Axis | None = None
        self._rows = 0

    def __call__(self, frame: Frame, view: View, size: Size) -> StyledText:
        span = time_span(frame.points, view.span_s, view.until_s)
        shown = visible(frame.points, span)
        title = self._title(view, shown)
        newest_s = frame.points[-1].time_s if frame.points else 0.0
        foot = _foot(view, newest_s - span.end_s)
        if not any(curve.value(point) is not None for point in shown for curve in self.series):
            return StyledText(_empty(frame, view, size), title, foot)
        height = size.height - 1 if size.height >= AXIS_ROW_FROM else size.height
        before = self._axis if self._rows == height else None
        self._rows = height
        self._axis = fit_axis(shown, self.series, height, log=view.log_y and self._may_log, before=before)
        lines = plot(
            *(shown, self.series, self._axis, span, frame.markers),
            width=size.width,
            height=height,
            long_labels=self._labels,
        )
        if height < size.height:
            return StyledText((*lines, time_labels(span, size.width, newest_s)), title)
        return StyledText(lines, title, foot)

    def _title(self, view: View, shown: Sequence[Point]) -> str:
        if len(self.series) == 1:
            return self.name
        legend = "  ".join(f"{curve.mark} {curve.name}" for curve in reversed(self.series))
        words = [f"{self.name}   {legend}"]
        newest = next((point for point in reversed(shown) if point.n), None)
        if newest and any(curve.faint and newest.n < curve.floor for curve in self.series):
            words.append(f"dim: provisional, n={newest.n}")
        if view.log_y and self._may_log:
            words.append("log")
        return "   ".join(words)


def _foot(view: View, behind_s: float) -> str:
    """`last 60 s`, or `60 s up to −30 s` for a panned chart."""
    return f"last {view.span_name}" if behind_s <= 0 else f"{view.span_name} up to {_ago(behind_s)}"


def time_labels(span: TimeSpan, width: int, newest_s: float) -> Line:
    """The row of time labels, relative to now, as many as fit."""
    cols = width - GUTTER
    step = next((step for step in (5, 10, 15, 30, 60, 120, 300) if step / span.length_s * cols >= 12), 600)
    text = [" "] * cols
    behind_s = max(0.0, newest_s - span.end_s)
    ago = math.ceil(behind_s / step) * step
    while ago <= behind_s + span.length_s:
        label = "now" if ago == 0 else _ago(ago)
        col = round((1 - (ago - behind_s) / span.length_s) * (cols - 1))
        start = min(max(0, col - len(label) // 2), cols - len(label))
        if start >= 0 and all(char == " " for char in text[max(0, start - 1) : start + len(label) + 1]):
            text[start : start + len(label)] = label
        ago += step
    return (Span(" " * (GUTTER - 1), "axis"), Span("└", "grid"), Span("".join(text), "axis"))


def _ago(seconds: float) -> str:
    if seconds % 60 == 0 and seconds >= 60:
        return f"−{seconds / 60:.0f} min"
    return f"−{seconds:.0f} s"


def _empty(frame: Frame, view: View, size: Size) -> Lines:
    """The text of a chart without samples: the reason, and the key of the next step."""
    match frame.engine.state:
        case EngineState.STOPPED:
            words, action = "no samples: the engine is stopped, start it with", "engine"
        case EngineState.STARTING:
            words, action = "no samples yet: the engine is starting", ""
        case EngineState.LOST if frame.engine.remote:
            words, action = "no samples: no engine answers", ""
        case EngineState.LOST:
            words, action = "no samples: the engine is lost, restart it with", "restart"
        case _ if frame.load.running:
            words, action = "waiting for the first interval", ""
        case _:
            words, action = "no samples: start the load with", "load_toggle"
    key = view.key(action) if action else ""
    text = f"{words} {key}".rstrip()
    pad = " " * max(0, (size.width - len(text)) // 2)
    row: Line = (Span(pad + words, "muted"), Span(f" {key}" if key else "", "key", action))
    return (*[()] * max(0, (size.height - 1) // 2), row)
