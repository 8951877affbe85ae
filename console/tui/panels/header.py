"""The header: engine, model, deployment and load, and whether the screen is live."""

from textual.geometry import Size

from console.actions.action import MODES
from console.model.engine import EngineState
from console.model.frame import Frame
from console.model.modes import ReplayState
from console.tui import number_format
from console.tui.panels.live.replay import badge
from console.tui.panels.words import SEPARATOR, cell_short, model_name, state_label
from console.tui.styled_text import BLANK, Line, Span, StyledText, clean, clip, joined, line, spread, width_of
from console.tui.view import View

WIDE = 150
"""From this width on the header shows requested and effective deployment in full."""
MIDDLE = 112
"""From this width on the header shows the modes."""
SHORT_ID = 16
"""Cells for the end of a recorded run's id with its mark."""
SHORT_BADGE = 76
"""Below this width a replayed run is named by the end of its id."""


def header(frame: Frame, view: View, size: Size) -> StyledText:
    """One line that shows what fits the width."""
    if frame.replay is not None:
        return StyledText((_replayed(frame, frame.replay, view, size.width),))
    if size.width >= WIDE:
        return StyledText((_wide(frame, view, size.width),))
    return StyledText((_narrow(frame, view, size.width),))


def liveness(frame: Frame, view: View, *, long: bool = False) -> Line:
    """`▶ LIVE 60 s`, `‖ FROZEN 00:12 behind`, or `◀ CHARTS 00:30 back` for panned charts."""
    if view.frozen:
        behind = f" {number_format.clock(view.behind_s)} behind"
        return line(Span(" ‖ FROZEN", "badge"), Span(behind + " ", "badge"))
    if view.until_s is not None and frame.points:
        back = number_format.clock(frame.points[-1].time_s - view.until_s)
        return line(Span("◀ CHARTS", "accent"), Span(f" {back} back ", "muted"))
    return line(Span("▶ LIVE", "good"), Span(f" {view.span_name}" + ("  10 Hz" if long else "") + " ", "muted"))


def modes(view: View) -> Line:
    """`1 Live 2 Sweep 3 Runs 4 Compare 5 Log` with the current one highlighted."""
    return joined((_mode(name, view) for name in MODES), Span(" "))


def _mode(mode: str, view: View) -> Line:
    action, name = f"mode_{mode}", mode.capitalize()
    key = view.registry.by_id[action].first_key_label
    if view.mode == mode:
        return line(Span(f" {key} {name} ", "cursor", action))
    return line(Span(f" {key} ", "key", action), Span(f"{name} ", "label", action))


def _load(frame: Frame) -> Line:
    load = frame.load
    spec = load.spec
    if not load.running:
        return line(Span("load off", "muted"), Span(f" b{spec.batch} c{spec.concurrency}", "muted"))
    state = "warming up" if load.warming_up else "ON"
    return line(Span(f"load {state} ", "good"), Span(number_format.clock(load.elapsed_s)))


def recording(frame: Frame, room: int) -> Line:
    """`rec ●` while the load is recorded, with as much of the run's id as fits; `rec ⚠` while it cannot be stored."""
    live = frame.experiments.recording
    if not live.running:
        return BLANK
    mark, role = ("⚠", "warn") if live.trouble else ("○", "muted") if live.discarded else ("●", "bad")
    badge_line = line(Span(f"rec {mark} ", role, "live_run"))
    run_id = clean(live.run_id)
    for name in (f"run {run_id} ", f"run …{run_id[-4:]} "):
        if len(name) + width_of(badge_line) <= room:
            return line(Span(name, "value", "live_run"), *badge_line)
    return badge_line


def _replayed(frame: Frame, replay: ReplayState, view: View, width: int) -> Line:
    """The header of a replay. It shows the recorded deployment in place of the engine's state."""
    engine, spec = frame.engine, frame.load.spec
    pace = f"{spec.rate:g}/s" if spec.is_open else f"c{spec.concurrency}"
    warm_up = Span("  warm-up" if frame.load.warming_up else "", "accent")
    deployment_and_load = [cell_short(engine.requested, engine.effective), line(Span(f"b{spec.batch} {pace}"), warm_up)]
    parts = [badge(replay, short=width < SHORT_BADGE), *deployment_and_load]
    if width >= MIDDLE:
        parts.insert(1, modes(view))
    if width >= WIDE and (name := model_name(engine)):
        parts.append(line(Span(name, "value")))
    return clip(joined(parts, SEPARATOR), width)


def _narrow(frame: Frame, view: View, width: int) -> Line:
    spec = frame.load.spec
    name = model_name(frame.engine)
    tail = line(*recording(frame, SHORT_ID if width >= MIDDLE else 0), *liveness(frame, view))
    head = line(*state_label(frame, short=True), Span(f" {name}" if name else "", "value"))
    pace = f"{spec.rate:g}/s" if spec.is_open else f"c{spec.concurrency}"
    shape = line(Span(f"b{spec.batch} {pace}"), Span(" open" if spec.is_open else " closed", "muted"))
    deployed = cell_short(frame.engine.requested, frame.engine.effective)
    parts = [head, deployed, shape, _load(frame)] if frame.load.running else [head, deployed, _load(frame)]
    if width >= MIDDLE:
        parts.insert(0, modes(view))
    while len(parts) > 1 and width_of(joined(parts, SEPARATOR)) + width_of(tail) + 1 > width:
        excess = width_of(joined(parts, SEPARATOR)) + width_of(tail) + 1 - width
        room = width_of(head) - excess
        if room >= 14:
            parts[parts.index(head)] = clip(head, room)
        else:
            parts.remove(shape) if shape in parts else parts.pop()
    return spread(joined(parts, SEPARATOR), tail, width)


def _wide(frame: Frame, view: View, width: int) -> Line:
    engine = frame.engine
    where = [Span(f"  pid {engine.pid}" if engine.pid else "", "muted")]
    if engine.address:
        where.append(Span(f"  grpc {clean(engine.address)}", "muted"))
    if engine.remote:
        where.append(Span(" remote", "accent"))
    both: Line = BLANK
    if engine.requested.backend and engine.state is not EngineState.STOPPED:
        differs = bool(engine.effective.cell) and engine.requested.cell != engine.effective.cell
        both = line(
            Span("requested ", "label"),
            Span(clean(engine.requested.cell), "value"),
            Span("   effective ", "label"),
            Span(clean(engine.effective.cell or "–"), "strong"),
            Span(" ⚠" if differs else "", "warn"),
        )
    name = line(Span("embedconsole ", "strong"), *modes(view))
    left = joined([name, line(*state_label(frame), *where), both], Span("     "))
    tail = liveness(frame, view, long=True)
    room = width - width_of(left) - width_of(tail) - 1
    return spread(left, line(*recording(frame, room), *tail), width)
