"""The key bar: the most important actions of the mode, in words that fit; unavailable ones are dimmed."""

from textual.geometry import Size

from console.actions.action import Action
from console.model.frame import Frame
from console.tui.styled_text import BLANK, Line, Span, StyledText, joined, line, width_of
from console.tui.view import View

GAP = Span(" ")
ALWAYS_RANK = 2
"""Actions up to this rank, Help and Quit, are always shown."""
SHORT_NAMES = {"Engine": "Eng", "Precision": "Prec", "Concurrency": "Conc", "Copy CLI": "CLI", "Start/stop load": "Go"}
SHORT_KEYS = {"space": "␣"}


def keybar(frame: Frame, view: View, size: Size) -> StyledText:
    """All entries in long names if they fit, else in short names, else the entries of the lowest ranks."""
    entries = [action for action in view.registry if action.bar_rank and view.mode in action.modes]
    for small in (False, True):
        rows = _rows(frame, view, entries, size, small=small)
        if rows is not None:
            return StyledText(tuple(rows))
    by_rank = sorted(entries, key=lambda action: _rank(action, view))
    while len(by_rank) > ALWAYS_RANK:
        by_rank.pop()
        kept = [action for action in entries if action in by_rank]
        rows = _rows(frame, view, kept, size, small=True)
        if rows is not None:
            return StyledText(tuple(rows))
    return StyledText((BLANK,))


def _rank(action: Action, view: View) -> int:
    """While a tile is maximised, the way back is as important as Help and Quit."""
    return ALWAYS_RANK if action.id == "maximise" and view.maximised else action.bar_rank


def _rows(frame: Frame, view: View, entries: list[Action], size: Size, *, small: bool) -> list[Line] | None:
    """The entries in at most `size.height` lines; None if they do not fit."""
    gap = GAP if small else Span("  ")
    rows: list[list[Line]] = [[]]
    for action in entries:
        piece = _entry(frame, view, action, small=small)
        if width_of(joined([*rows[-1], piece], gap)) > size.width - (0 if small else 2):
            rows.append([])
        rows[-1].append(piece)
    if len(rows) > size.height or any(width_of(joined(row, gap)) > size.width - (0 if small else 2) for row in rows):
        return None
    return [line(" ", *joined(row, gap)) if not small else joined(row, gap) for row in rows]


def _entry(frame: Frame, view: View, action: Action, *, small: bool) -> Line:
    spans: list[Span] = []
    parts = (action, *view.registry.sharing[action.id])
    for part in parts:
        available = part.unavailable(frame) is None
        if key := part.first_key_label:
            spans += [
                Span(SHORT_KEYS.get(key, key) if small else key, "key" if available else "dead", part.id),
                Span(" "),
            ]
    any_available = any(part.unavailable(frame) is None for part in parts)
    name = _name(frame, view, action)
    spans.append(Span(SHORT_NAMES.get(name, name) if small else name, "label" if any_available else "dead", action.id))
    return tuple(spans)


def _name(frame: Frame, view: View, action: Action) -> str:
    if action.id == "engine":
        return action.name(frame).split(" ", maxsplit=1)[0]
    if action.id == "freeze" and view.frozen:
        return "Live"
    if action.id == "maximise" and view.maximised:
        return "Back"
    if action.id == "pin" and view.pinned is not None:
        return "Unpin"
    if action.id == "open_loop" and frame.load.spec.is_open:
        return "Closed loop"
    if action.id == "load_toggle":
        return "Stop load" if frame.load.running else "Start load"
    if action.id in {"sweep_pause", "replay_pause"}:
        return action.name(frame)
    return action.short
