"""The Jump dialog: places in columns, each one letter away."""

from itertools import zip_longest

from textual import events

from console.model.frame import Frame
from console.tui.jump_targets import JumpTarget
from console.tui.screens.dialogs.dialog import Dialog
from console.tui.styled_text import Line, Lines, Span, clip, line, width_of
from console.tui.view import View

COLUMN = 34


class JumpDialog(Dialog[JumpTarget]):
    """A letter or a click answers."""

    def __init__(self, frame: Frame, view: View, heading: str, columns: tuple[tuple[JumpTarget, ...], ...]) -> None:
        super().__init__(frame, view)
        self.HEADING = heading
        self.WIDTH = COLUMN * len(columns) + 6
        self.columns = columns

    def keys(self) -> str:
        return "a letter goes there · esc stay"

    def lines(self, width: int) -> Lines:
        rows = zip_longest(*self.columns)
        return tuple(clip(tuple(span for place in row for span in _cell(place)), width) for row in rows)

    def on_key(self, event: events.Key) -> None:
        if event.character:
            self.action_go(event.character, event)

    def action_go(self, letter: str, event: events.Key | None = None) -> None:
        """Closes with the place of that letter."""
        place = next((place for column in self.columns for place in column if place.letter == letter), None)
        if place is not None:
            if event is not None:
                event.stop()
            self.dismiss(place)


def _cell(place: JumpTarget | None) -> Line:
    if place is None:
        return line(Span(" " * COLUMN))
    click = f"screen.go({place.letter!r})"
    words = line(Span(f" {place.letter} ", "key", click), Span(f" {place.name}", "strong", click))
    return (*words, Span(" " * (COLUMN - width_of(words))))
