"""The legend of a chart: the marks that the chart holds, each with its meaning. Pure functions."""

from dataclasses import dataclass
from typing import Literal

from console.report.charts import Bars, Chart, Dots, Lines, Spans, Stack

Shape = Literal["square", "dot", "interval", "cut interval", "range", "line", "dashes"]
LONGEST_INTERVAL = 1.3
"""An interval that reaches beyond this multiple of the largest figure is cut off, so that the bars stay readable."""
_NOT_STEADY = "not steady (~)"


@dataclass(frozen=True, slots=True)
class Entry:
    """A sample of a mark and its meaning. `style` is the sample's CSS class."""

    shape: Shape
    style: str
    text: str


def legend_of(chart: Chart) -> tuple[Entry, ...]:
    """Returns one entry for each kind of mark in the chart, in reading order; a kind that is not drawn has none."""
    match chart:
        case Bars():
            return _bars(chart)
        case Spans():
            return _spans(chart)
        case Lines():
            return _lines(chart)
        case Dots():
            return _dots(chart)
        case Stack():
            return _stack(chart)


def cut_at(chart: Bars) -> float:
    """The value at which intervals are cut off."""
    return LONGEST_INTERVAL * max(bar.value for bar in chart.bars)


def _bars(chart: Bars) -> tuple[Entry, ...]:
    highs = [bar.high for bar in chart.bars if bar.low is not None and bar.high is not None]
    limit = cut_at(chart)
    return _kept(
        (any(not bar.highlighted for bar in chart.bars), Entry("square", "c0", "deployment")),
        (any(bar.highlighted for bar in chart.bars), Entry("square", "c1", "baseline")),
        (any(not bar.steady for bar in chart.bars), Entry("square", "neutral hollow", _NOT_STEADY)),
        (any(high <= limit for high in highs), Entry("interval", "whisker", "95 % interval")),
        (any(high > limit for high in highs), Entry("cut interval", "whisker", "95 % interval, cut off")),
    )


def _spans(chart: Spans) -> tuple[Entry, ...]:
    has_p95 = any(span.high is not None for span in chart.spans)
    unsteady = any(not span.steady or (span.high is not None and not span.high_steady) for span in chart.spans)
    return _kept(
        (True, Entry("dot", "c0", "p50")),
        (has_p95, Entry("dot", "c1", "p95")),
        (has_p95, Entry("range", "span", "p50 to p95")),
        (unsteady, Entry("dot", "neutral hollow", "not steady")),
    )


def _lines(chart: Lines) -> tuple[Entry, ...]:
    unsteady = any(not point.steady for series in chart.series for point in series.points)
    series = [(True, Entry("line", f"c{number}", one.name)) for number, one in enumerate(chart.series)]
    return _kept(*series, (unsteady, Entry("dot", "neutral hollow", "not steady")))


def _dots(chart: Dots) -> tuple[Entry, ...]:
    on_front = sum(dot.highlighted for dot in chart.dots)
    return _kept(
        (on_front > 0, Entry("dot", "c1", "on the Pareto front")),
        (on_front < len(chart.dots), Entry("dot", "c0", "dominated")),
        (any(not dot.steady for dot in chart.dots), Entry("dot", "neutral hollow", "not steady")),
        (on_front > 1, Entry("dashes", "front", "Pareto front")),
    )


def _stack(chart: Stack) -> tuple[Entry, ...]:
    return _kept(
        *(
            (any(values[number] > 0 for _, values in chart.rows), Entry("square", f"c{number}", part))
            for number, part in enumerate(chart.parts)
        )
    )


def _kept(*entries: tuple[bool, Entry]) -> tuple[Entry, ...]:
    return tuple(entry for drawn, entry in entries if drawn)
