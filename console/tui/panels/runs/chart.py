"""Throughput and latency of a stored run over time, drawn like the charts of the Live screen."""

from textual.geometry import Size

from console.store.opened_run import OpenedRun
from console.tui.chart.charts import LATENCY, THROUGHPUT
from console.tui.chart.plot import TimeSpan, fit_axis, plot
from console.tui.styled_text import Line, Lines, Span, line

CHART_ROWS = 14
"""Rows of both charts together in the dialog of a run."""


def curves(opened: OpenedRun, size: Size) -> Lines:
    """Throughput above latency from the start of the load, half the height each."""
    points = opened.points
    if not any(point.n for point in points):
        return (line(Span("no interval was recorded", "muted")),)
    height = (size.height - 2) // 2
    span = TimeSpan(0.0, points[-1].time_s)
    lines: list[Line] = []
    for name, series in (("texts/s", THROUGHPUT), ("latency ms   ━ p50  ┅ p95  ┈ p99", LATENCY)):
        axis = fit_axis(points, series, height, log=False, before=None)
        drawn = plot(points, series, axis, span, (), width=size.width, height=height, long_labels=False)
        lines += [line(Span(f"{name}   {span.length_s:.0f} s", "label")), *drawn]
    return tuple(lines)
