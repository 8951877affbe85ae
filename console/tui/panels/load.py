"""The load: what the driver sends, and how it fares."""

from textual.geometry import Size

from console.frame import Frame
from console.tui import figures
from console.tui.ink import Line, Picture, Span, clean, clip, line
from console.tui.panels.engine import field
from console.tui.view import View


def load(frame: Frame, _view: View, size: Size) -> Picture:
    """Knobs with their keys first, then progress."""
    spec = frame.load.spec
    unit = "pairs" if spec.workload == "pairs" else "texts"
    rows = [
        field("state", _state(frame), "L", "load_toggle"),
        field("batch", line(Span(f"{spec.batch:<5}", "strong"), Span(f"{unit}/req", "muted")), "[ ]", "load"),
        field("concurr.", line(Span(f"{spec.concurrency:<5}", "strong"), Span("in flight", "muted")), "{ }", "load"),
        field("mode", line(Span("closed loop"), Span("  stream" if spec.stream else "  unary", "muted"))),
        field("corpus", line(Span(clean(spec.corpus)), Span(f"  {spec.workload}", "muted"))),
        field("sent", _sent(frame)),
        field("driver", _driver(frame)),
    ]
    return Picture(tuple(clip(row, size.width) for row in rows[: size.height]), "load")


def _state(frame: Frame) -> Line:
    state = frame.load
    if not state.running:
        return line(Span("○ off", "muted"))
    words = "warming up" if state.warming_up else "on"
    role = "accent" if state.warming_up else "good"
    return line(Span(f"● {words} ", role), Span(f" {figures.clock(state.elapsed_s)}"))


def _sent(frame: Frame) -> Line:
    state = frame.load
    return line(Span(f"{state.texts:,}"), Span(" texts in ", "muted"), Span(f"{state.requests:,}"))


def _driver(frame: Frame) -> Line:
    state = frame.load
    cpu = Span(f"{figures.cores(state.cpu_cores)} of a core", "warn" if state.saturated else "muted")
    return line(Span(f"{state.in_flight} in flight"), Span("  "), cpu)
