"""The Engine panel: model, deployment, state and batching, with the keys that change them."""

from textual.geometry import Size

from console.model.engine import EngineState
from console.model.frame import Frame
from console.tui import number_format
from console.tui.panels.words import arrow, keyless, model_name, state_label
from console.tui.styled_text import Line, Span, StyledText, clean, clip, line
from console.tui.view import View

LABEL = 10


def field(name: str, value: Line, key: str = "", action: str = "") -> Line:
    """One row: name, value, key."""
    tail = (Span(f"  {key}", "key", action),) if key else ()
    return line(Span(name.ljust(LABEL), "label"), *value, *tail)


def engine(frame: Frame, view: View, size: Size) -> StyledText:
    """The fields by importance: a short tile shows only the first ones."""
    live = frame.engine
    requested, effective = live.requested, live.effective
    rows = [
        field("model", line(Span(model_name(live) or "–", "strong"))),
        field("backend", arrow(requested.backend, effective.backend), view.key("backend"), "backend"),
        field("precision", arrow(requested.precision, effective.precision), view.key("precision"), "precision"),
        field("state", _state(frame)),
        field("instances", _instances(frame)),
        field("device", _device(frame)),
        field("vectors", _vectors(frame)),
        field("batches", _batching(frame), view.key("coalesce"), "coalesce"),
        field("switch", _last_switch(frame)),
        field("cpu", line(Span(clean(live.cpu_model) or "–", "muted"))),
    ]
    rows = [row if frame.replay is None else keyless(row) for row in rows if row]
    buttons = line(
        *(
            Span(f" {view.key('engine')} ", "key", "engine"),
            Span("Start  " if _down(frame) else "Stop  ", "label", "engine"),
        ),
        *(Span(f" {view.key('restart')} ", "key", "restart"), Span("Restart  ", "label", "restart")),
        *(Span(f" {view.key('backend')} ", "key", "backend"), Span("Switch…", "label", "backend")),
    )
    if frame.replay is None and size.height >= len(rows) + 2:
        rows += [line()] * (size.height - len(rows) - 1) + [buttons]
    return StyledText(tuple(clip(row, size.width) for row in rows[: size.height]), "engine")


def _down(frame: Frame) -> bool:
    return frame.engine.state in {EngineState.STOPPED, EngineState.LOST}


def _device(frame: Frame) -> Line:
    live = frame.engine
    cores = f"  {live.cores} core{'s' if live.cores > 1 else ''}" if live.cores else ""
    return line(Span(clean(live.effective.device or live.requested.device or "–")), Span(cores, "muted"))


def _vectors(frame: Frame) -> Line:
    model = frame.engine.model
    if not model.dim:
        return line(Span("–"))
    return line(Span(f"dim {model.dim}"), Span(f"  ≤ {model.max_tokens} tokens", "muted"))


def _state(frame: Frame) -> Line:
    up = f"  up {number_format.clock(frame.engine.uptime_s)}" if frame.engine.uptime_s else ""
    return line(*state_label(frame), Span(up, "muted"))


def _instances(frame: Frame) -> Line:
    effective = frame.engine.effective
    if not effective.instances:
        return line(Span("–"))
    threads = f" × {effective.threads} thread{'s' if effective.threads != 1 else ''}"
    return line(Span(f"{effective.instances}"), Span(threads), Span(f"  {frame.engine.idle_instances} idle", "muted"))


def _batching(frame: Frame) -> Line:
    knobs = frame.engine.batching
    coalesce = Span("coalescing", "value") if knobs.coalesce else Span("coalescing off", "warn")
    items = f"{knobs.max_batch_items} × " if knobs.max_batch_items else ""  # stored runs do not have the item limit
    unit = "" if items and knobs.max_batch_tokens >= 1000 else " tok"  # leaves room for the key
    size = f"  ≤ {items}{knobs.max_batch_tokens:,}{unit}" if knobs.max_batch_tokens else ""
    return line(coalesce, Span(size, "muted"))


def _last_switch(frame: Frame) -> Line:
    if not frame.deltas:
        return line(Span("none yet", "muted"))
    last = frame.deltas[-1]
    failed = Span(f"  {last.errors} failed", "bad" if last.errors else "good")
    return line(Span(f"S{last.ordinal} in {last.took_s:.2f} s"), failed)
