"""Promises of the charts: gaps stay gaps, the axis stays still, markers stand where the switch was."""

from dataclasses import replace

import pytest
from textual.geometry import Size

from console.model.load import Point
from console.model.switch import Marker
from console.tui.chart.axis import linear, logarithmic
from console.tui.chart.braille import DASHED, SOLID, Canvas
from console.tui.chart.charts import LATENCY, QUEUE, THROUGHPUT, Chart, time_labels
from console.tui.chart.plot import GUTTER, TimeSpan, marker_column, plot, time_span, visible
from console.tui.styled_text import plain, width_of
from console.tui.view import View
from tests.console.fakes import scenes

BRAILLE = range(0x2801, 0x2900)


def columns_with_dots(lines: tuple[str, ...]) -> set[int]:
    """The plot's columns in which a curve is."""
    return {x - GUTTER for text in lines for x, char in enumerate(text) if ord(char) in BRAILLE}


def drawn(points: tuple[Point, ...], width: int = 66, height: int = 8, span_s: float = 60.0) -> tuple[str, ...]:
    """A throughput chart as text."""
    axis = linear(1000.0, height)
    span = time_span(points, span_s)
    lines = plot(visible(points, span), THROUGHPUT, axis, span, (), width=width, height=height, long_labels=True)
    return tuple(plain(spans) for spans in lines)


def test_a_gap_is_a_gap_and_is_never_joined() -> None:
    series = tuple(Point(float(s), None if 20 <= s < 40 else 500.0) for s in range(61))
    used = columns_with_dots(drawn(series))
    assert {column for column in range(60) if column not in used} >= set(range(21, 38))
    assert {5, 10, 15, 45, 50, 55} <= used


def test_intervals_that_never_came_are_a_gap_too() -> None:
    series = tuple(Point(float(s), 500.0) for s in range(61) if not 20 <= s < 40)
    assert not columns_with_dots(drawn(series)) & set(range(21, 38))


def test_a_lone_interval_between_gaps_is_seen() -> None:
    series = tuple(Point(float(s), 500.0 if s == 30 else None) for s in range(61))
    assert len(columns_with_dots(drawn(series))) == 1


def test_the_axis_does_not_move_while_values_fit() -> None:
    axis = linear(900.0, 12)
    for peak in (950.0, 700.0, 520.0, 960.0):
        assert linear(peak, 12, axis) is axis


def test_the_axis_grows_for_a_higher_peak_and_shrinks_for_a_much_lower_one() -> None:
    axis = linear(900.0, 12)
    assert linear(2_000.0, 12, axis).high >= 2_000.0
    assert linear(100.0, 12, axis).high < 250.0


@pytest.mark.parametrize("peak", [0.003, 1.0, 7.7, 99.0, 1_234.0, 5_000_001.0])
def test_ticks_are_round_and_hold_the_peak(peak: float) -> None:
    axis = linear(peak, 12)
    assert axis.high >= peak
    step = axis.ticks[1] - axis.ticks[0]
    assert f"{step:.1e}"[0] in "125"


def test_a_log_axis_holds_all_values_and_keeps_still() -> None:
    axis = logarithmic(3.0, 180.0, 12)
    assert axis.low <= 3.0
    assert axis.high >= 180.0
    assert logarithmic(4.0, 150.0, 12, axis) is axis
    assert axis.share(3.0) < axis.share(30.0) < axis.share(180.0)


def test_a_marker_stands_in_the_column_of_its_time_in_every_row_without_a_curve() -> None:
    span = TimeSpan(0.0, 60.0)
    marker = Marker(30.0, 1, "torch·fp32 → onnx·fp32")
    series = tuple(Point(float(s), 10.0) for s in range(61))
    lines = plot(series, THROUGHPUT, linear(1000.0, 8), span, (marker,), width=66, height=8, long_labels=True)
    column = GUTTER + marker_column(marker, span, 60)
    rows = [plain(spans) for spans in lines]
    assert all(text[column] == "┊" for text in rows[:-1])
    assert rows[0][column + 1 :].startswith("S1 torch·fp32 → onnx·fp32")
    assert 29 <= column - GUTTER <= 30


def test_close_markers_keep_their_short_names_and_one_off_the_chart_is_not_drawn() -> None:
    span = TimeSpan(0.0, 60.0)
    markers = (Marker(30.0, 1, "a long label"), Marker(34.0, 2, "another"), Marker(-5.0, 3, "before"))
    lines = plot((), THROUGHPUT, linear(1000.0, 8), span, markers, width=66, height=8, long_labels=True)
    top = plain(lines[0])
    assert "S1" in top
    assert "a long label" not in top
    assert "S2" in top
    assert "S3" not in top


@pytest.mark.parametrize("width", [20, 21, 39, 80, 133, 200, 300])
@pytest.mark.parametrize("height", [2, 3, 8, 20])
def test_every_size_is_filled_exactly(width: int, height: int) -> None:
    for series in (THROUGHPUT, LATENCY, QUEUE):
        picture = Chart("x", series, log=True)(scenes.fallback(), View(log_y=True), Size(width, height))
        assert len(picture.lines) == height
        assert all(width_of(spans) == width for spans in picture.lines)


@pytest.mark.parametrize("zoom", range(5))
def test_every_zoom_draws_and_nothing_at_all_says_what_to_do(zoom: int) -> None:
    chart = Chart("x", LATENCY)
    assert columns_with_dots(tuple(plain(row) for row in chart(scenes.busy(), View(zoom=zoom), Size(90, 12)).lines))
    assert "start it with" in "".join(plain(row) for row in chart(scenes.stopped(), View(zoom), Size(90, 12)).lines)


def test_a_size_too_small_for_a_plot_is_no_crash() -> None:
    for width in range(9):
        Chart("x", LATENCY)(scenes.busy(), View(), Size(width, 1))


def test_percentiles_from_few_requests_are_drawn_in_the_faint_role_and_say_their_n() -> None:
    picture = Chart("latency", LATENCY)(scenes.few(), View(), Size(90, 12))
    roles = {span.role for row in picture.lines for span in row if any(ord(char) in BRAILLE for char in span.text)}
    assert {"faint2", "faint3", "series1"} <= roles
    assert not roles & {"series2", "series3"}
    assert "provisional, n=61" in picture.title


def test_series_differ_without_colour() -> None:
    assert len({curve.pattern for curve in LATENCY}) == 3
    assert len({curve.mark for curve in LATENCY}) == 3


def test_a_dash_runs_on_through_corners() -> None:
    canvas = Canvas(10, 2)
    phase = canvas.stroke((0, 4), (2, 4), "a", DASHED, 0)
    assert phase == 2
    assert canvas.stroke((2, 4), (9, 4), "a", DASHED, phase) == 9
    assert [bool(canvas.cell(x, 1)[0]) for x in range(5)] == [True, True, False, True, True]


def test_dots_outside_the_canvas_are_not_drawn() -> None:
    canvas = Canvas(2, 1)
    canvas.stroke((-5, -3), (9, 9), "a", SOLID, 0)
    assert canvas.cell(1, 0)[0] or canvas.cell(0, 0)[0]


def test_time_labels_end_with_now_and_do_not_touch() -> None:
    for length in (30.0, 60.0, 120.0, 300.0, 600.0):
        for width in (30, 80, 140):
            text = plain(time_labels(TimeSpan(0.0, length), width, length))
            assert text.endswith("now")
            assert len(text) == width


def test_time_labels_of_a_panned_chart_count_from_the_newest_second() -> None:
    text = plain(time_labels(TimeSpan(60.0, 120.0), 80, 180.0))
    assert "now" not in text
    assert "−1 min" in text
    assert "−2 min" in text


def test_a_curve_enters_from_the_left_edge() -> None:
    points = replace(scenes.busy()).points
    span = time_span(points, 30.0)
    assert visible(points, span)[0].time_s <= span.start_s
