"""Charts as inline SVG: no scripts, colours from the page's variables, a title and a text alternative.

Every figure is an element of class `mark`, hollow if it was not steady. Each chart has a legend of the marks it holds.
"""

import math
from collections.abc import Callable, Sequence
from html import escape

from console.report.charts import Bars, Chart, Dots, Lines, Spans, Stack
from console.report.render.legend import Entry, cut_at, legend_of

WIDTH = 1040
"""Width of a chart in its own units, which is that of the page's tables in px; all lengths below are alike."""
_LABELS = 250
_RIGHT = 96
_ROW = 26
_TOP = 12
_AXIS = 40
_PLOT_HEIGHT = 180
_LEFT = 64
_LEGEND = 22
"""Height of one line of a legend."""
_LETTER = 7.0
"""Approximate width of a letter of 12 px text."""
_TICKS = 5


def draw(chart: Chart, number: int) -> str:
    """Returns an `<svg>` element. `number` makes its ids unique on the page."""
    match chart:
        case Bars():
            height, body = _bars(chart)
        case Spans():
            height, body = _spans(chart)
        case Lines():
            height, body = _lines(chart)
        case Dots():
            height, body = _dots(chart)
        case Stack():
            height, body = _stack(chart)
    title, text = f"chart-{number}-title", f"chart-{number}-text"
    return (
        f'<svg class="chart" role="img" aria-labelledby="{title} {text}" viewBox="0 0 {WIDTH} {height:g}">'
        f'<title id="{title}">{escape(chart.title)}</title><desc id="{text}">{escape(description(chart))}</desc>'
        f"{body}</svg>"
    )


def description(chart: Chart) -> str:
    """Returns the figures as text, for screen readers."""
    match chart:
        case Bars():
            return "; ".join(f"{bar.label} {bar.value:,.0f} {chart.unit}" for bar in chart.bars)
        case Spans():
            return "; ".join(
                f"{one.label} p50 {one.low:,.1f}"
                + (f", p95 {one.high:,.1f}" if one.high is not None else "")
                + f" {chart.unit}"
                for one in chart.spans
            )
        case Lines():
            return "; ".join(
                f"{one.name}: " + ", ".join(f"{point.x} → {point.y:,.0f}" for point in one.points)
                for one in chart.series
            )
        case Dots():
            return "; ".join(f"{dot.label}: {dot.x:.4f}, {dot.y:,.0f} {chart.y_label}" for dot in chart.dots)
        case Stack():
            return "; ".join(
                f"{label}: " + ", ".join(f"{part} {value:.2f}" for part, value in zip(chart.parts, values, strict=True))
                for label, values in chart.rows
            )


def ticks(most: float, least: float = 0.0, count: int = _TICKS) -> list[float]:
    """Returns about `count` round values; the first is at most `least`, the last at least `most`."""
    span = max(most - least, 1e-12)
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return [step * place for place in range(first, max(last, first + 1) + 1)]


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _rect(x: float, y: float, width: float, kind: str, tooltip: str) -> str:
    """A bar with the height of a row."""
    size = f'width="{max(width, 0.5):.1f}" height="{_ROW - 10}"'
    return f'<rect x="{x:.1f}" y="{y:g}" {size} class="mark {kind}"><title>{escape(tooltip)}</title></rect>'


def _circle(x: float, y: float, kind: str, steady: bool, tooltip: str) -> str:
    style = f"mark {kind}" if steady else f"mark {kind} hollow"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="{style}"><title>{escape(tooltip)}</title></circle>'


def _legend(chart: Chart, left: float) -> tuple[float, str]:
    """Returns the height of the legend above the plot, and the legend. It wraps at the right edge."""
    drawn, x, y = [], left, float(_TOP)
    for entry in legend_of(chart):
        text = _shortened(entry.text, 280)
        width = 22 + _LETTER * len(text) + 14
        if x > left and x + width > WIDTH - 16:
            x, y = left, y + _LEGEND
        drawn += [_sample(x, y - 1, entry), _text(x + 22, y + 3, text, "tick")]
        x += width
    return y - _TOP + _LEGEND, f'<g class="legend">{"".join(drawn)}</g>'


def _sample(x: float, y: float, entry: Entry) -> str:
    """A sample of a mark, 16 wide, with its middle at `y`."""
    dot = f'<circle cx="{x + 8:.1f}" cy="{y:.1f}" r="4.5" class="{entry.style}"/>'
    ends = {"interval": (x, x + 16), "cut interval": (x,)}
    match entry.shape:
        case "square":
            return f'<rect x="{x + 3:.1f}" y="{y - 5:.1f}" width="10" height="10" rx="2" class="{entry.style}"/>'
        case "dot":
            return dot
        case "line":
            return _line(x, y, x + 16, y, f"line {entry.style}") + dot
        case "interval" | "cut interval" as shape:
            caps = "".join(_line(end, y - 4, end, y + 4, entry.style) for end in ends[shape])
            return _line(x, y, x + 16, y, entry.style) + caps
        case "range" | "dashes":
            return _line(x, y, x + 16, y, entry.style)


def _shortened(words: str, width: float) -> str:
    most = int(width / _LETTER)
    return words if len(words) <= most else words[: most - 1] + "…"


def _tick_text(value: float, marks: Sequence[float]) -> str:
    step = abs(marks[1] - marks[0]) if len(marks) > 1 else 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    if step < 1 and not math.isclose(round(step, digits), step):
        digits += 1
    return f"{value:,.{digits}f}"


# ---- charts of rows: labels on the left, a scale below


_Position = Callable[[float], float]


def _rows(labels: Sequence[str], most: float, unit: str, top: float) -> tuple[float, _Position, list[str]]:
    """Returns the height of the chart, the x position of a value, and the scale and labels as drawn."""
    marks = ticks(most)
    bottom = top + _ROW * len(labels)
    right = WIDTH - _RIGHT

    def place(value: float) -> float:
        return _LABELS + (right - _LABELS) * value / marks[-1]

    drawn = [_line(place(mark), top, place(mark), bottom, "grid") for mark in marks]
    drawn += [_text(place(mark), bottom + 16, _tick_text(mark, marks), "tick", "middle") for mark in marks]
    drawn.append(_text(right, bottom + 33, unit, "tick", "end"))
    for row, label in enumerate(labels):
        drawn.append(_text(_LABELS - 8, top + _ROW * (row + 0.5) + 4, _shortened(label, _LABELS - 8), "", "end"))
    return bottom + _AXIS, place, drawn


def _bars(chart: Bars) -> tuple[float, str]:
    most = min(max(max(bar.value, bar.high or 0.0) for bar in chart.bars), cut_at(chart))
    legend_height, legend = _legend(chart, _LABELS)
    top = _TOP + legend_height
    height, place, drawn = _rows([bar.label for bar in chart.bars], most, chart.unit, top)
    drawn.append(legend)
    for row, bar in enumerate(chart.bars):
        y = top + _ROW * row
        kind = "c1" if bar.highlighted else "c0"
        style = kind if bar.steady else f"{kind} hollow"
        tooltip = f"{bar.label}: {bar.value:,.0f} {chart.unit}" + ("" if bar.steady else ", not steady")
        drawn.append(_rect(_LABELS, y + 5, place(bar.value) - _LABELS, style, tooltip))
        end = place(bar.value)
        if bar.low is not None and bar.high is not None:
            middle = y + _ROW / 2
            high = min(bar.high, most)
            drawn.append(_line(place(bar.low), middle, place(high), middle, "whisker"))
            ends = (bar.low, bar.high) if high == bar.high else (bar.low,)
            drawn += [_line(place(x), middle - 4, place(x), middle + 4, "whisker") for x in ends]
            end = max(end, place(high))
        drawn.append(_text(end + 6, y + _ROW / 2 + 4, f"{bar.value:,.0f}" + ("" if bar.steady else " ~"), "value"))
    return height, "".join(drawn)


def _spans(chart: Spans) -> tuple[float, str]:
    most = max(span.high if span.high is not None else span.low for span in chart.spans)
    legend_height, legend = _legend(chart, _LABELS)
    top = _TOP + legend_height
    height, place, drawn = _rows([span.label for span in chart.spans], most, chart.unit, top)
    drawn.append(legend)
    for row, span in enumerate(chart.spans):
        y = top + _ROW * (row + 0.5)
        end = span.high if span.high is not None else span.low
        if span.high is not None:
            drawn.append(_line(place(span.low), y, place(span.high), y, "span"))
        drawn.append(_circle(place(span.low), y, "c0", span.steady, f"{span.label}: p50 {span.low:,.2f} ms"))
        if span.high is not None:
            drawn.append(_circle(place(span.high), y, "c1", span.high_steady, f"{span.label}: p95 {span.high:,.2f} ms"))
        text = f"{span.low:,.1f} – {span.high:,.1f}" if span.high is not None else f"{span.low:,.1f} (no p95)"
        drawn.append(_text(place(end) + 9, y + 4, text, "value"))
    return height, "".join(drawn)


def _stack(chart: Stack) -> tuple[float, str]:
    most = max(sum(values) for _, values in chart.rows)
    legend_height, legend = _legend(chart, _LABELS)
    top = _TOP + legend_height
    height, place, drawn = _rows([label for label, _ in chart.rows], most, chart.unit, top)
    drawn.append(legend)
    for row, (label, values) in enumerate(chart.rows):
        begin = 0.0
        for part, (name, value) in enumerate(zip(chart.parts, values, strict=True)):
            if value <= 0:
                continue
            x, end = place(begin), place(begin + value)
            tooltip = f"{label}: {name} {value:.2f} {chart.unit}"
            drawn.append(_rect(x, top + _ROW * row + 5, end - x, f"c{part}", tooltip))
            begin += value
        drawn.append(_text(place(begin) + 6, top + _ROW * (row + 0.5) + 4, f"{begin:,.1f}", "value"))
    return height, "".join(drawn)


# ---- charts of points: a scale on the left and one below


def _plane(
    y_marks: Sequence[float], x_label: str, y_label: str, x_ticks: Sequence[tuple[float, str]], top: float
) -> tuple[float, _Position, list[str]]:
    """Returns the height of the chart, the y position of a value, and the axes. `x_ticks`: positions and labels."""
    bottom = top + _PLOT_HEIGHT

    def place(value: float) -> float:
        return bottom - _PLOT_HEIGHT * (value - y_marks[0]) / (y_marks[-1] - y_marks[0])

    drawn = [_line(_LEFT, place(mark), WIDTH - 16, place(mark), "grid") for mark in y_marks]
    drawn += [_text(_LEFT - 8, place(mark) + 4, _tick_text(mark, y_marks), "tick", "end") for mark in y_marks]
    drawn += [_text(x, bottom + 18, words, "tick", "middle") for x, words in x_ticks]
    drawn += [
        _text(WIDTH - 16, bottom + 36, x_label, "tick", "end"),
        _text(_LEFT - 8, top - 12, y_label, "tick", "end"),
    ]
    return bottom + _AXIS + 4, place, drawn


def _lines(chart: Lines) -> tuple[float, str]:
    legend_height, legend = _legend(chart, _LEFT)
    top = _TOP + legend_height + 16
    marks = ticks(max(point.y for series in chart.series for point in series.points))
    width = WIDTH - 16 - _LEFT

    def across(step: str) -> float:
        return _LEFT + width * (chart.steps.index(step) + 0.5) / len(chart.steps)

    height, up, drawn = _plane(marks, chart.x_label, chart.y_label, [(across(s), s) for s in chart.steps], top)
    drawn.append(legend)
    for number, series in enumerate(chart.series):
        places = [(across(point.x), up(point.y), point) for point in series.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        drawn.append(f'<polyline points="{path}" class="line c{number}"/>')
        for x, y, point in places:
            tooltip = f"{series.name}, {chart.x_label} {point.x}: {point.y:,.0f} {chart.y_label}"
            tooltip += "" if point.steady else ", not steady"
            drawn.append(_circle(x, y, f"c{number}", point.steady, tooltip))
    return height, "".join(drawn)


def _dots(chart: Dots) -> tuple[float, str]:
    legend_height, legend = _legend(chart, _LEFT)
    top = _TOP + legend_height + 16
    y_marks = ticks(max(dot.y for dot in chart.dots))
    lowest = min(dot.x for dot in chart.dots)
    x_marks = ticks(1.0, min(lowest, 0.999))
    left, right = _LEFT + 24, WIDTH - 240

    def across(value: float) -> float:
        return left + (right - left) * (value - x_marks[0]) / (x_marks[-1] - x_marks[0])

    x_ticks = [(across(mark), _tick_text(mark, x_marks)) for mark in x_marks]
    height, up, drawn = _plane(y_marks, chart.x_label, chart.y_label, x_ticks, top)
    drawn.append(legend)
    front = sorted((dot for dot in chart.dots if dot.highlighted), key=lambda dot: dot.x)
    if len(front) > 1:
        path = " ".join(f"{across(dot.x):.1f},{up(dot.y):.1f}" for dot in front)
        drawn.append(f'<polyline points="{path}" class="front"/>')
    taken = [_box(across(dot.x) - 5, up(dot.y), 10) for dot in chart.dots]
    for dot in sorted(chart.dots, key=lambda dot: -dot.y):
        x, y = across(dot.x), up(dot.y)
        tooltip = f"{dot.label}: {dot.y:,.0f} {chart.y_label}, {dot.x:.4f}" + ("" if dot.steady else ", not steady")
        drawn.append(_circle(x, y, "c1" if dot.highlighted else "c0", dot.steady, tooltip))
        drawn.append(_label(x, y, dot.label, taken, (top - 4, top + _PLOT_HEIGHT)))
    return height, "".join(drawn)


_Box = tuple[float, float, float, float]
_LEVELS = (0, -13, 13, -26, 26, -39, 39, -52, 52)
"""Vertical offsets that a label may have from its dot, nearest first."""


def _box(left: float, middle: float, width: float) -> _Box:
    return left, middle - 6, left + width, middle + 6


def _label(x: float, y: float, words: str, taken: list[_Box], between: tuple[float, float]) -> str:
    """Places a label beside its dot where it covers no other label or dot. `between`: lowest and highest y allowed."""
    width = _LETTER * len(words)
    sides = [left for left in (x + 9, x - 9 - width) if left >= 4 and left + width <= WIDTH - 4] or [4.0]
    places = [_box(left, y + level, width) for level in _LEVELS for left in sides]
    inside = [place for place in places if between[0] <= place[1] and place[3] <= between[1]] or places
    chosen = next((place for place in inside if not any(_overlap(place, other) for other in taken)), inside[0])
    taken.append(chosen)
    return _text(chosen[0], chosen[3] - 2, words, "value")


def _overlap(one: _Box, two: _Box) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]
