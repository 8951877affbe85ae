"""Notices above the body: fallback and warnings, a lost or silent engine, the phase of a start or switch."""

from textual.geometry import Size

from console.model.engine import EngineState
from console.model.frame import Frame
from console.tui import number_format
from console.tui.panels.words import fell_back
from console.tui.styled_text import Line, Lines, Span, StyledText, clean, clip, line, spread, width_of, wrap
from console.tui.view import View

SILENT_S = 3.0
"""Seconds without a frame after which a notice appears: 30 times the interval of the engine's frames."""
HUNG_S = 5.0
"""Seconds that a request is in flight before a notice appears."""


def banner(frame: Frame, view: View, size: Size) -> StyledText:
    """The first warning of the engine, or its fallback. Empty without either."""
    engine = frame.engine
    fallback = fell_back(engine)
    if engine.state in {EngineState.STOPPED, EngineState.STARTING} or not (fallback or engine.warnings):
        return StyledText(())
    word = "FALLBACK" if fallback else "WARNING"
    if engine.warnings:
        text = clean(engine.warnings[0].message)
        more = f"  +{len(engine.warnings) - 1} more" if len(engine.warnings) > 1 else ""
    else:
        text, more = f"requested {clean(engine.requested.cell)}, {clean(engine.effective.cell)} runs", ""
    until = "shown until effective equals requested   " if fallback and size.width >= 150 else ""
    right = line(Span(f"{more}  {until}", "banner"), Span(f"{view.key('details')} details ", "banner", "details"))
    room = size.width - width_of(right)
    left = line(Span(f" ⚠ {word}  ", "banner", "details"), Span(text, "banner", "details"))
    if width_of(left) >= room and engine.warnings:
        left = line(Span(" ⚠ ", "banner", "details"), Span(text, "banner", "details"))
    spans = spread(clip(left, room - 1), right, size.width)
    return StyledText((tuple(span if span.role != "value" else span._replace(role="banner") for span in spans),))


def alarm(frame: Frame, view: View, size: Size) -> StyledText:
    """What happened to a lost engine, and the keys that help. Empty otherwise."""
    engine = frame.engine
    if engine.state is not EngineState.LOST:
        return StyledText(())
    message = engine.message or "The engine process ended unexpectedly."
    message += "; trying again every second" if engine.remote else ""
    restart = (
        Span(f" {view.key('restart')} ", "badge", "restart"),
        Span(" restart the engine    ", "alarm", "restart"),
    )
    keys = line(
        *(() if engine.remote else restart),
        *(Span(f" {view.key('mode_log')} ", "badge", "mode_log"), Span(" last output    ", "alarm", "mode_log")),
        *(Span(f" {view.key('quit')} ", "badge", "quit"), Span(" quit ", "alarm", "quit")),
    )
    body = wrap(message, max(10, size.width - 2), "alarm", limit=3)
    title = f"✖ NO ENGINE AT {clean(engine.address)}" if engine.never_answered else "✖ ENGINE LOST"
    rows = [line(Span(title, "alarm")), *body, keys]
    return StyledText(tuple(_filled((Span(" ", "alarm"), *row), size.width) for row in rows))


def _filled(row: Line, width: int) -> Line:
    return (*row, Span(" " * max(0, width - width_of(row)), "alarm"))


def progress(frame: Frame, view: View, size: Size) -> StyledText:
    """The running phase of a start, switch or stop, a silent engine, a message of the load. Empty otherwise."""
    engine = frame.engine
    rows: list[Line] = []
    if engine.state in {EngineState.STARTING, EngineState.SWITCHING, EngineState.DRAINING}:
        rows.append(_phase(frame, view, size.width))
    if engine.state is EngineState.STOPPED and engine.message:
        rows.append(line(Span(" ✖ ", "bad"), Span(clean(engine.message), "bad")))
    rows.extend(_slow(frame, view))
    if frame.load.message:
        rows.append(line(Span(" ⚠ load: ", "warn"), Span(clean(frame.load.message), "warn")))
    return StyledText(tuple(clip(row, size.width) for row in rows))


def _slow(frame: Frame, view: View) -> Lines:
    """A silent engine, or requests that wait for long: with the cause and the key that helps."""
    engine = frame.engine
    if engine.state not in {EngineState.RUNNING, EngineState.SWITCHING}:
        return ()
    silent, waiting = engine.last_frame_age_s >= SILENT_S, engine.oldest_in_flight_s >= HUNG_S
    words: list[str] = []
    if silent:
        words.append(f"no data from the engine for {engine.last_frame_age_s:.0f} s")
    if waiting:
        words.append(f"the oldest request in flight has waited {engine.oldest_in_flight_s:.1f} s")
    if not words:
        return ()
    keys: Line = ()
    if engine.state is EngineState.SWITCHING:
        words.append("a switch is in progress")
    elif not silent and frame.load.running and frame.load.spec.is_open and frame.window.texts_per_s:
        words.append("a backlog grows, the engine does not keep up with the rate: lower it")
        keys = (Span(f"   {view.key('load')} load", "key", "load"),)
    elif silent or not frame.window.texts_per_s:
        keys = (Span(f"   {view.key('restart')} restart", "key", "restart"),)
    return (line(Span(" ⚠ SLOW  ", "warn"), Span("; ".join(words), "warn"), *keys),)


def _phase(frame: Frame, view: View, width: int) -> Line:
    engine = frame.engine
    phase = engine.phase
    verb = {"starting": "STARTING", "switching": "SWITCHING", "draining": "STOPPING"}[engine.state.value]
    if phase is None:
        return line(Span(f" ◌ {verb}", "accent"))
    parts = [Span(f" ◌ {verb}  ", "accent"), Span(clean(phase.name), "strong")]
    if phase.detail:
        parts.append(Span(f"  {clean(phase.detail)}", "value"))
    right = []
    if phase.total:
        share = phase.done / phase.total
        done = number_format.bar(share, 16).rstrip()
        right += [Span(done, "accent"), Span("░" * (16 - len(done)), "grid")]
        right.append(Span(f" {phase.done}/{phase.total}  ", "value"))
    right.append(Span(f"{phase.elapsed_s:5.1f} s ", "strong"))
    if engine.state is EngineState.SWITCHING:
        right += [
            Span(f" {view.key('cancel_switch')} ", "key", "cancel_switch"),
            Span("cancel ", "label", "cancel_switch"),
        ]
    room = width - sum(len(span.text) for span in right)
    return spread(clip(tuple(parts), room - 1), tuple(right), width)
