"""Text that several panels share: states, deployments, requested against effective."""

from console.model.engine import Deployment, Engine, EngineState
from console.model.frame import Frame
from console.model.load import LoadSpec
from console.tui.styled_text import Line, Span, clean, line

STATE_GLYPH = {
    EngineState.STOPPED: ("○", "muted"),
    EngineState.STARTING: ("◌", "accent"),
    EngineState.RUNNING: ("●", "good"),
    EngineState.SWITCHING: ("◐", "accent"),
    EngineState.DRAINING: ("◔", "warn"),
    EngineState.LOST: ("✖", "bad"),
}
STATE_SHORT = {
    EngineState.STOPPED: "STOP",
    EngineState.STARTING: "START",
    EngineState.RUNNING: "RUN",
    EngineState.SWITCHING: "SWITCH",
    EngineState.DRAINING: "DRAIN",
    EngineState.LOST: "LOST",
}

SEPARATOR = Span(" │ ", "grid")


def fell_back(engine: Engine) -> bool:
    """Whether the effective deployment differs from the requested one."""
    wanted, actual = engine.requested, engine.effective
    if not wanted.backend or not actual.backend:
        return False
    return (wanted.backend, wanted.precision, wanted.recipe) != (actual.backend, actual.precision, actual.recipe) or (
        bool(wanted.device) and wanted.device != actual.device
    )


def loop_note(spec: LoadSpec) -> str:
    """How the kind of loop affects the latency."""
    if spec.is_open:
        return "open loop: latency from the scheduled time"
    return "closed loop: coordinated omission"


def keyless(row: Line) -> Line:
    """The line without keys: in a replay they do nothing."""
    return tuple(span for span in row if span.role != "key")


def model_name(engine: Engine) -> str:
    """The name of the model without its organisation, or the last part of its folder."""
    name = engine.model.id or engine.effective.model or engine.requested.model
    return clean(name.rstrip("/").rsplit("/", 1)[-1])


def arrow(requested: str, effective: str) -> Line:
    """`int8 → fp16 ⚠` if they differ, else one of them."""
    requested, effective = clean(requested), clean(effective)
    if requested == effective or not effective:
        return line(Span(requested or "–", "strong"))
    if not requested:
        return line(Span(effective, "strong"))
    return line(Span(requested, "value"), Span(" → ", "muted"), Span(effective, "strong"), Span(" ⚠", "warn"))


def cell_short(requested: Deployment, effective: Deployment) -> Line:
    """`onnx int8→fp16 ⚠`: backend and precision in few cells."""
    if not requested.backend and not effective.backend:
        return line(Span("no deployment", "muted"))
    backend = Span(f"{clean(effective.backend or requested.backend)} ", "strong")
    precision = Span(clean(effective.precision or requested.precision), "strong")
    if effective.backend and requested.cell and requested.cell != effective.cell:
        wanted = requested.precision if requested.backend == effective.backend else requested.cell
        return line(backend, Span(f"{clean(wanted)}→", "value"), precision, Span(" ⚠", "warn"))
    return line(backend, precision)


def state_label(frame: Frame, *, short: bool = False) -> Line:
    """`● RUNNING`, or `◀ REPLAYED` in a replay."""
    if frame.replay is not None:
        return line(Span("◀ ", "accent"), Span("REPLAYED", "accent"))
    glyph, role = STATE_GLYPH[frame.engine.state]
    word = STATE_SHORT[frame.engine.state] if short else frame.engine.state.value.upper()
    if frame.engine.never_answered:
        word = "NONE" if short else "NO ENGINE"
    return line(Span(f"{glyph} ", role), Span(word, role))
