"""The Load panel: what the load generator sends, and its progress."""

from textual.geometry import Size

from console.model.frame import Frame
from console.model.load import LoadSpec
from console.tui import number_format
from console.tui.panels.live.engine import field
from console.tui.panels.words import keyless
from console.tui.styled_text import Line, Span, StyledText, clean, clip, line
from console.tui.view import View


def load(frame: Frame, view: View, size: Size) -> StyledText:
    """The settings with their keys, then the progress."""
    spec = frame.load.spec
    unit = "pairs" if spec.workload == "pairs" else "texts"
    rows = [
        field("state", _state(frame), view.key("load_toggle"), "load_toggle"),
        field(
            "batch", line(Span(f"{spec.batch:<5}", "strong"), Span(f"{unit}/req", "muted")), *_two_keys(view, "batch")
        ),
        _pace(spec, view),
        field("mode", line(Span(_mode(spec)), Span("  stream" if spec.stream else "  unary", "muted"))),
        field("corpus", line(Span(clean(spec.corpus)), Span(f"  {spec.workload}", "muted"))),
        field("sent", _sent(frame)),
        field("generator", _generator(frame)),
    ]
    if frame.replay is not None:
        rows = [keyless(row) for row in rows]
    return StyledText(tuple(clip(row, size.width) for row in rows[: size.height]), "load")


def _two_keys(view: View, knob: str) -> tuple[str, str]:
    """The keys that halve and double a setting, and the action of a click on them."""
    return f"{view.key(f'{knob}_down')} {view.key(f'{knob}_up')}", "load"


def _pace(spec: LoadSpec, view: View) -> Line:
    """The rate of an open loop, or the concurrency of a closed one."""
    if spec.is_open:
        return field("rate", line(Span(f"{spec.rate:<5g}", "strong"), Span("requests/s", "muted")))
    return field(
        "concurr.",
        line(Span(f"{spec.concurrency:<5}", "strong"), Span("in flight", "muted")),
        *_two_keys(view, "concurrency"),
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
    return line(
        Span(f"{state.texts:,}"),
        Span(" texts / ", "muted"),
        Span(f"{state.requests:,}"),
        Span(" requests", "muted"),
        dropped,
    )


def _generator(frame: Frame) -> Line:
    state = frame.load
    role = "warn" if state.saturated else "muted"
    in_flight = Span(f"{state.in_flight} in flight")
    if state.lag_p99_ms is None:
        return line(in_flight, Span("  "), Span(f"{number_format.cores(state.cpu_cores)} of a core", role))
    return line(in_flight, Span(f"  {number_format.cores(state.cpu_cores)}, late p99 {state.lag_p99_ms:.1f} ms", role))
