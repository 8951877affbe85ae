"""The load: what the driver sends, and how it fares."""

from textual.geometry import Size

from console.model.frame import Frame
from console.model.load import LoadSpec
from console.tui import number_format
from console.tui.panels.live.engine import field
from console.tui.panels.words import keyless
from console.tui.styled_text import Line, Span, StyledText, clean, clip, line
from console.tui.view import View


def load(frame: Frame, view: View, size: Size) -> StyledText:
    """Knobs with their keys first, then progress."""
    spec = frame.load.spec
    unit = "pairs" if spec.workload == "pairs" else "texts"
    rows = [
        field("state", _state(frame), view.key("load_toggle"), "load_toggle"),
        field("batch", line(Span(f"{spec.batch:<5}", "strong"), Span(f"{unit}/req", "muted")), *_two(view, "batch")),
        _how_many(spec, view),
        field("mode", line(Span(_mode(spec)), Span("  stream" if spec.stream else "  unary", "muted"))),
        field("corpus", line(Span(clean(spec.corpus)), Span(f"  {spec.workload}", "muted"))),
        field("sent", _sent(frame)),
        field("driver", _driver(frame)),
    ]
    if frame.replay is not None:
        rows = [keyless(row) for row in rows]
    return StyledText(tuple(clip(row, size.width) for row in rows[: size.height]), "load")


def _two(view: View, knob: str) -> tuple[str, str]:
    """The keys that halve and double it, and what a click on them opens."""
    return f"{view.key(f'{knob}_down')} {view.key(f'{knob}_up')}", "load"


def _how_many(spec: LoadSpec, view: View) -> Line:
    """What sets the pace: callers, or a schedule."""
    if spec.is_open:
        return field("rate", line(Span(f"{spec.rate:<5g}", "strong"), Span("requests/s", "muted")))
    return field(
        "concurr.",
        line(Span(f"{spec.concurrency:<5}", "strong"), Span("in flight", "muted")),
        *_two(view, "concurrency"),
    )


def _mode(spec: LoadSpec) -> str:
    return f"open loop, {spec.arrival}" if spec.is_open else "closed loop"


def _state(frame: Frame) -> Line:
    state = frame.load
    if not state.running:
        return line(Span("○ off", "muted"))
    words = "warming up" if state.warming_up else "on"
    role = "accent" if state.warming_up else "good"
    return line(Span(f"● {words} ", role), Span(f" {number_format.clock(state.elapsed_s)}"))


def _sent(frame: Frame) -> Line:
    state = frame.load
    dropped = Span(f"  {state.dropped:,} dropped" if state.dropped else "", "bad")
    return line(Span(f"{state.texts:,}"), Span(" texts in ", "muted"), Span(f"{state.requests:,}"), dropped)


def _driver(frame: Frame) -> Line:
    state = frame.load
    role = "warn" if state.saturated else "muted"
    in_flight = Span(f"{state.in_flight} in flight")
    if state.lag_p99_ms is None:
        return line(in_flight, Span("  "), Span(f"{number_format.cores(state.cpu_cores)} of a core", role))
    return line(in_flight, Span(f"  {number_format.cores(state.cpu_cores)}, late p99 {state.lag_p99_ms:.1f} ms", role))
