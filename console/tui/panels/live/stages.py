"""Mean server time of a request by stage, as bars on one scale."""

from textual.geometry import Size

from console.model.frame import Frame
from console.tui import number_format
from console.tui.styled_text import Line, Span, StyledText, clip, line
from console.tui.view import View

NAME = 11
VALUE = 9


def stages(frame: Frame, _view: View, size: Size) -> StyledText:
    """A bar for the share of each stage, then the mean batch."""
    title = "where the time goes · server mean"
    mean = frame.window.stages
    if mean is None:
        return StyledText((line(Span("no requests in the window", "muted")),), title)
    parts = (
        ("queue", mean.queue_ms, "series3"),
        ("tokenize", mean.tokenize_ms, "series2"),
        ("infer", mean.infer_ms, "series1"),
        ("serialize", mean.serialize_ms, "accent"),
    )
    total = sum(value for _, value, _ in parts) or 1.0
    room = max(4, size.width - NAME - VALUE - 6)
    rows: list[Line] = [
        line(
            Span(name.ljust(NAME), "label"),
            Span(number_format.bar(value / total, room), role),
            Span(f"{number_format.ms(value):>{VALUE - 3}} ms"),
            Span(f"{value / total * 100:>4.0f} %", "muted"),
        )
        for name, value, role in parts
    ]
    rows.append(_batches(frame))
    return StyledText(tuple(clip(row, size.width) for row in rows[: size.height]), title)


def _batches(frame: Frame) -> Line:
    window = frame.window
    if window.mean_batch_items is None:
        return line()
    tokens = f"{window.mean_batch_tokens:,.0f} tokens" if window.mean_batch_tokens is not None else ""
    padding = f" · {window.padding_ratio * 100:.0f} % pad" if window.padding_ratio is not None else ""
    return line(
        Span("batch".ljust(NAME), "label"),
        Span(number_format.count(window.mean_batch_items), "strong"),
        Span(" texts · ", "muted"),
        Span(tokens),
        Span(padding, "muted"),
    )
