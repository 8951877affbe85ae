"""The Jump dialog: targets in columns, each with a letter."""

from itertools import zip_longest

from textual import events

from console.model.frame import Frame
from console.tui.jump_targets import JumpTarget
from console.tui.screens.dialogs.dialog import Dialog
from console.tui.styled_text import Line, Lines, Span, clip, line, width_of
from console.tui.view import View

COLUMN = 34
"""Cells of a column."""


class JumpDialog(Dialog[JumpTarget]):
    """A letter or a click chooses a target."""

    def __init__(self, frame: Frame, view: View, heading: str, columns: tuple[tuple[JumpTarget, ...], ...]) -> None:
        super().__init__(frame, view)
        self.HEADING = heading
        self.WIDTH = COLUMN * len(columns) + 6
        self.columns = columns

    def keys(self) -> str:
        return "letter jump · esc cancel"

    def lines(self, width: int) -> Lines:
        rows = zip_longest(*self.columns)
        return tuple(clip(tuple(span for target in row for span in _cell(target)), width) for row in rows)

    def on_key(self, event: events.Key) -> None:
        if event.character:
            self.action_go(event.character, event)

    def action_go(self, letter: str, event: events.Key | None = None) -> None:
        """Closes with the target of that letter."""
        target = next((target for column in self.columns for target in column if target.letter == letter), None)
        if target is not None:
            if event is not None:
                event.stop()
            self.dismiss(target)


def _cell(target: JumpTarget | None) -> Line:
    if target is None:
        return line(Span(" " * COLUMN))
    click = f"screen.go({target.letter!r})"
    words = line(Span(f" {target.letter} ", "key", click), Span(f" {target.name}", "strong", click))
    return (*words, Span(" " * (COLUMN - width_of(words))))
