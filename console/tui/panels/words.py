"""The words several panels share: states, deployments, whether what runs is what was asked for."""

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
    """Whether another deployment runs than was asked for."""
    asked, runs = engine.requested, engine.effective
    if not asked.backend or not runs.backend:
        return False
    return (asked.backend, asked.precision, asked.recipe) != (runs.backend, runs.precision, runs.recipe) or (
        bool(asked.device) and asked.device != runs.device
    )


def loop_note(spec: LoadSpec) -> str:
    """What the kind of loop means for the latency beside it."""
    if spec.is_open:
        return "open loop: latency from the scheduled time"
    return "closed loop: latency hides arrival wait"


def keyless(row: Line) -> Line:
    """Without the keys that act on an engine: on a replay they do nothing."""
    return tuple(span for span in row if span.role != "key")


def model_name(engine: Engine) -> str:
    """The model without its organisation, or a directory's last part."""
    name = engine.model.id or engine.effective.model or engine.requested.model
    return clean(name.rstrip("/").rsplit("/", 1)[-1])


def arrow(asked: str, runs: str) -> Line:
    """`int8 → fp16 ⚠` where they differ, else what runs."""
    asked, runs = clean(asked), clean(runs)
    if asked == runs or not runs:
        return line(Span(asked or "–", "strong"))
    if not asked:
        return line(Span(runs, "strong"))
    return line(Span(asked, "value"), Span(" → ", "muted"), Span(runs, "strong"), Span(" ⚠", "warn"))


def cell_short(asked: Deployment, runs: Deployment) -> Line:
    """`onnx int8→fp16 ⚠`, for one line of many things."""
    if not asked.backend and not runs.backend:
        return line(Span("no deployment", "muted"))
    backend = clean(runs.backend or asked.backend)
    parts = [Span(f"{backend} ", "strong")]
    if runs.backend and asked.cell and asked.cell != runs.cell:
        was = asked.precision if asked.backend == runs.backend else asked.cell
        return line(*parts, Span(f"{clean(was)}→", "value"), Span(clean(runs.precision), "strong"), Span(" ⚠", "warn"))
    return line(*parts, Span(clean(runs.precision or asked.precision), "strong"))


def state_label(frame: Frame, *, short: bool = False) -> Line:
    """`● RUNNING`; of a replay that it is one."""
    if frame.replay is not None:
        return line(Span("◀ ", "accent"), Span("REPLAYED", "accent"))
    glyph, role = STATE_GLYPH[frame.engine.state]
    word = STATE_SHORT[frame.engine.state] if short else frame.engine.state.value.upper()
    return line(Span(f"{glyph} ", role), Span(word, role))
