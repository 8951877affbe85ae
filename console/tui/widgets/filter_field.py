"""The input field of a list's filter. It is hidden unless the filter is being edited."""

from textual.widgets import Input


class FilterField(Input):
    """An input whose screen handles `Input.Changed` and `Input.Submitted` and stores the filter."""

    def __init__(self, placeholder: str) -> None:
        super().__init__(placeholder=placeholder, id="filter", compact=True)
        self.cursor_blink = False

    def open(self, words: str) -> None:
        """Shows the field with this filter and focuses it."""
        self.display = True
        self.value = words
        self.focus()

    def close(self) -> None:
        """Hides the field and returns the focus to the screen."""
        self.display = False
        self.screen.set_focus(None)
