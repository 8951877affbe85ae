"""A dialog with text to read. Long lines are wrapped; it scrolls."""

from typing import ClassVar

from textual.binding import BindingType

from console.model.frame import Frame
from console.tui.screens.dialogs.dialog import SCROLL_KEYS, Dialog
from console.tui.styled_text import Lines, wrap
from console.tui.view import View


class ReadDialog(Dialog[None]):
    """Shows a text under a heading."""

    WIDTH = 100
    BINDINGS: ClassVar[list[BindingType]] = [*SCROLL_KEYS]

    def __init__(self, frame: Frame, view: View, heading: str, text: str) -> None:
        super().__init__(frame, view)
        self.HEADING = heading
        self.text = text

    def lines(self, width: int) -> Lines:
        return tuple(row for words in self.text.splitlines() for row in wrap(words, width))
