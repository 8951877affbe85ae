"""The Events panel: the newest lines of the log without debug lines, newest first."""

from collections.abc import Iterable

from textual.geometry import Size

from console.model.frame import Frame, LogLine
from console.tui.styled_text import Line, Span, StyledText, clean, clip, line
from console.tui.view import View

LEVELS = {
    "debug": ("·", "muted", "DEBUG"),
    "info": ("│", "label", "INFO "),
    "warning": ("⚠", "warn", "WARN "),
    "error": ("✖", "bad", "ERROR"),
    "event": ("◆", "accent", "EVENT"),
}


def log_line(entry: LogLine, *, marked: bool = False) -> Line:
    """`12:04:01 ⚠ WARN  engine   int8 is not …`."""
    mark, role, word = LEVELS.get(entry.level, LEVELS["info"])
    text_role = role if entry.level in {"warning", "error"} else ("muted" if entry.level == "debug" else "value")
    return line(
        Span("▸" if marked else " ", "accent"),
        Span(f"{entry.wall_time} ", "muted"),
        Span(f"{mark} {word} ", role),
        Span(f"{entry.source:<8}", "label"),
        Span(clean(entry.text), text_role),
    )


def events(frame: Frame, view: View, size: Size) -> StyledText:
    """As many lines as fit; the Log screen has all."""
    title, more = "events and engine log", f"{view.key('mode_log')} log"
    if not frame.log:
        return StyledText((line(Span(" nothing yet", "muted")),), title, more)
    newest = _newest(reversed(frame.log), size.height)
    return StyledText(tuple(clip(log_line(entry), size.width) for entry in newest), title, more)


def _newest(entries: Iterable[LogLine], limit: int) -> list[LogLine]:
    kept: list[LogLine] = []
    for entry in entries:
        if entry.level != "debug":
            kept.append(entry)
            if len(kept) >= limit:
                break
    return kept
