"""The field in which a list's filter is written: hidden until it is asked for, and gone when it is kept."""

from textual.widgets import Input


class FilterField(Input):
    """Its screen hears `Input.Changed` and `Input.Submitted`, and keeps the words."""

    def __init__(self, placeholder: str) -> None:
        super().__init__(placeholder=placeholder, id="filter", compact=True)
        self.cursor_blink = False

    def ask(self, words: str) -> None:
        """Shows itself with these words and takes the keys."""
        self.display = True
        self.value = words
        self.focus()

    def close(self) -> None:
        """Gives the keys back to the screen."""
        self.display = False
        self.screen.set_focus(None)
