"""The Help dialog: every action by group with its key and shell command, and the meaning of the glyphs."""

from itertools import groupby
from typing import ClassVar

from textual.binding import BindingType

from console.actions.action import Action
from console.model.engine import EngineSpec
from console.model.frame import Frame
from console.tui.panels.live.matrix import legend
from console.tui.screens.dialogs.dialog import SCROLL_KEYS, Dialog
from console.tui.styled_text import Line, Lines, Span, clip, line
from console.tui.view import View

CLI_FROM_WIDTH = 140
"""Width from which the shell commands are shown."""
TITLE_WIDTH = 28
HELP_WIDTH = 60
"""Cells of the columns."""


class HelpDialog(Dialog[None]):
    """Generated from the registry of actions."""

    HEADING = "help"
    BINDINGS: ClassVar[list[BindingType]] = [*SCROLL_KEYS]

    def __init__(self, frame: Frame, view: View, spec: EngineSpec) -> None:
        super().__init__(frame, view)
        self._spec = spec

    @property
    def WIDTH(self) -> int:  # type: ignore[override]  # noqa: N802 a constant elsewhere, here it depends on the screen
        """Wider where the screen has room for the shell commands."""
        return 180 if self.size.width >= CLI_FROM_WIDTH + 20 else 100

    def lines(self, width: int) -> Lines:
        rows: list[Line] = []
        for group, actions in groupby(self.view.registry, key=lambda action: action.group):
            rows.append(line(Span(group, "accent")))
            rows += [self._row(action, width) for action in actions]
            rows.append(line())
        rows.append(line(Span("Glyphs", "accent")))
        rows += legend(width)
        rows.append(
            line(
                Span("~ ", "strong"), Span("provisional: too few requests for this percentile, or not stable", "muted")
            )
        )
        rows.append(line(Span("┊ ", "marker"), Span("a switch: S1, S2, …; a gap in a curve has no data", "muted")))
        rows.append(line(Span("Mouse: click keys, cells and fields; drag to select text, ^c copies it.", "muted")))
        return tuple(clip(row, width) for row in rows)

    def _row(self, action: Action, width: int) -> Line:
        available = action.unavailable(self.frame) is None
        spans = [
            Span(f"  {action.key_label:<8}", "key" if available else "dead"),
            Span(f"{action.title:<{TITLE_WIDTH}}", "value" if available else "dead"),
            Span(action.help, "muted"),
        ]
        if width >= CLI_FROM_WIDTH and action.cli:
            pad = " " * (HELP_WIDTH - len(action.help))
            spans.append(Span(f"{pad}  {action.cli(self.frame, self._spec)}", "label"))
        return tuple(spans)
