"""The key bar: the registry's actions in the words that fit, dimmed where they cannot be performed now."""

from textual.geometry import Size

from console.actions.action import Action
from console.model.frame import Frame
from console.tui.styled_text import BLANK, Line, Span, StyledText, joined, line, width_of
from console.tui.view import View

GAP = Span(" ")
ALWAYS_RANK = 2
"""Help and Quit stay to the last."""
SMALL = {"Engine": "Eng", "Precision": "Prec", "Concurrency": "Conc", "Copy CLI": "CLI", "Start/stop load": "Go"}
SMALL_KEYS = {"space": "␣"}


def keybar(frame: Frame, view: View, size: Size) -> StyledText:
    """One line, or two where there is height: long words if all fit, else short ones, else fewer entries."""
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
    """The way back from a tile that has the screen to itself stays as long as Help and Quit."""
    return ALWAYS_RANK if action.id == "maximise" and view.big else action.bar_rank


def _rows(frame: Frame, view: View, entries: list[Action], size: Size, *, small: bool) -> list[Line] | None:
    """The entries in at most `size.height` lines, or None where they do not fit."""
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
        can = part.unavailable(frame) is None
        if key := part.first_key_label:
            spans += [Span(SMALL_KEYS.get(key, key) if small else key, "key" if can else "dead", part.id), Span(" ")]
    can_any = any(part.unavailable(frame) is None for part in parts)
    name = _word(frame, view, action)
    spans.append(Span(SMALL.get(name, name) if small else name, "label" if can_any else "dead", action.id))
    return tuple(spans)


def _word(frame: Frame, view: View, action: Action) -> str:
    if action.id == "engine":
        return action.name(frame).split(" ", maxsplit=1)[0]
    if action.id == "freeze" and view.frozen:
        return "Thaw"
    if action.id == "maximise" and view.big:
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
