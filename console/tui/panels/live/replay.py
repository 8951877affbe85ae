"""The marks of a replay: run, position and speed, and the state of the live engine."""

from textual.geometry import Size

from console.model.frame import Frame
from console.model.modes import ReplayState
from console.tui import number_format
from console.tui.styled_text import Line, Span, StyledText, clean, clip, line, spread, width_of
from console.tui.view import View

MIN_BAR = 8
MAX_BAR = 60
"""Cells of the progress bar."""


def badge(shown: ReplayState, *, short: bool = False) -> Line:
    """`REPLAY r-20261123-100000-3fa2 ×10 00:12/00:30`."""
    run_id = clean(shown.run_id)
    name = run_id if not short else f"…{run_id[-9:]}"
    return line(Span(f" ◀ REPLAY {name} ×{shown.speed:g} {_position(shown)} ", "badge"))


def _position(shown: ReplayState) -> str:
    return f"{number_format.clock(shown.position_s)}/{number_format.clock(shown.length_s)}"


def timeline(frame: Frame, view: View, size: Size) -> StyledText:
    """One line under the header: state and progress of the replay. Empty if no run is replayed."""
    shown = frame.replay
    if shown is None:
        return StyledText(())
    state = (
        Span(" ■ ended  ", "strong") if shown.ended else Span(" ‖ paused " if shown.paused else " ▶ playing ", "accent")
    )
    live = _live(frame, shown, view, short=size.width < 100)
    room = size.width - width_of((state,)) - width_of(live) - 2
    if room < MIN_BAR:
        return StyledText((clip(line(state, *live), size.width),))
    return StyledText((spread(line(state, *_bar(shown, min(room, MAX_BAR))), live, size.width),))


def _bar(shown: ReplayState, cells: int) -> Line:
    share = shown.position_s / shown.length_s if shown.length_s else 1.0
    done = min(round(share * (cells - 1)), cells - 1)
    return line(Span("━" * done, "accent"), Span("●", "strong"), Span("─" * (cells - 1 - done), "grid"))


def _live(frame: Frame, shown: ReplayState, view: View, *, short: bool) -> Line:
    """The state of the live session, which continues during a replay."""
    words = [f"engine {shown.live_engine}" if shown.live_engine else "no engine"]
    words += ["load on"] if shown.live_load else []
    words += ["sweep on"] if frame.experiments.sweep_stage.active else []
    lost = shown.live_engine == "lost"
    state = Span(", ".join(words), "bad" if lost else "value")
    head = Span("live: " if short else "live session: ", "label")
    shows = Span("Live ", "label", "mode_live")
    return line(head, state, Span(f" {view.key('mode_live')} ", "key", "mode_live"), shows)
