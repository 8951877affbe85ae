"""The base of the dialogs: a box of styled text over the screen. Esc closes it; Ctrl+C asks to quit."""

from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import ModalScreen

from console.model.frame import Frame
from console.tui.styled_text import Lines, StyledText
from console.tui.view import View
from console.tui.widgets.tile import Tile

Answer = TypeVar("Answer")

BORDER = 2
PADDING = 4
MARGIN = 2
REDRAW_EVERY = 5
"""Ticks of the 10 Hz clock between two drawings."""


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """Subclasses implement `lines(width)` and `keys()`, and call `redraw()` when their state has changed."""

    CSS_PATH = "dialog.tcss"
    AUTO_FOCUS = ""
    HEADING = ""
    WIDTH = 72
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", show=False),
        Binding("ctrl+c", "app.perform('quit')", "Quit", show=False),
    ]

    def __init__(self, frame: Frame, view: View) -> None:
        super().__init__()
        self.frame = frame
        self.view = view
        self.top = 0
        self._outer = (0, 0)

    def compose(self) -> ComposeResult:
        yield Tile(self._draw, id="box", classes="panel")

    def lines(self, width: int) -> Lines:
        """Returns the content in lines of `width` cells."""
        raise NotImplementedError

    def keys(self) -> str:
        """Returns the keys that the lower border lists."""
        return "esc close"

    def on_mount(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self.redraw()

    def show(self, frame: Frame, view: View, tick: int) -> None:
        """Draws the frame every REDRAW_EVERY ticks."""
        if tick % REDRAW_EVERY == 0 and frame is not self.frame:
            self.frame, self.view = frame, view
            self.redraw()

    def redraw(self) -> None:
        """Draws the content and fits the box to it, at most to the size of the screen."""
        width = max(10, min(self.WIDTH, self.size.width - MARGIN))
        rows = self.lines(width - BORDER - PADDING)
        height = max(1, min(len(rows), self.size.height - BORDER))
        box = self.query_one("#box", Tile)
        if self._outer != (width, height + BORDER):
            self._outer = (width, height + BORDER)
            box.styles.width, box.styles.height = self._outer
        self.top = max(0, min(self.top, len(rows) - height))
        foot = self.keys() if len(rows) <= height else f"↑↓ more · {self.keys()}"
        box.put(StyledText(rows[self.top : self.top + height], self.HEADING, foot))

    def _draw(self, _frame: Frame, _view: View, _size: Size) -> StyledText:
        return StyledText(())

    def action_close(self) -> None:
        """Closes without an answer."""
        self.dismiss(None)

    def action_scroll_by(self, rows: int) -> None:
        """Scrolls content that is higher than the screen."""
        self.top += rows
        self.redraw()


SCROLL_KEYS: list[BindingType] = [
    Binding("up,k", "scroll_by(-1)", "Up", show=False),
    Binding("down,j", "scroll_by(1)", "Down", show=False),
    Binding("pageup", "scroll_by(-10)", "Page up", show=False),
    Binding("pagedown,space", "scroll_by(10)", "Page down", show=False),
    Binding("home", "scroll_by(-9999)", "Top", show=False),
    Binding("end", "scroll_by(9999)", "End", show=False),
]
"""Bindings of dialogs that are only read."""
