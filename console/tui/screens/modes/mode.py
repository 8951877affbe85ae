"""The base of the Sweep, Runs and Compare screens: header, notices and key bar around a body."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.screen import Screen

from console.model.frame import Frame
from console.tui.panels import header, keybar, status
from console.tui.styled_text import StyledText, line
from console.tui.view import View
from console.tui.widgets.tile import Tile

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

SIZES = (("wide", 160, 40), ("medium", 112, 30), ("narrow", 0, 0))
"""Layouts with their minimum width and height, the largest first."""


class ModeScreen(Screen[None]):
    """Subclasses implement `body()` and `redraw()`; `redraw` draws the tiles of the body."""

    CSS_PATH = "mode.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self) -> None:
        super().__init__()
        self.frame = Frame()
        self.view = View()

    @property
    def console_app(self) -> "AppPort":
        """The app."""
        return cast("AppPort", self.app)

    def body(self) -> ComposeResult:
        """Yields the widgets between the notices and the key bar."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draws the body. Called twice a second, and after every key that changes it."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield Tile(header.header, id="header", follows_view=True)
        yield Tile(status.alarm, id="alarm", classes="notice")
        yield Tile(status.banner, id="banner", classes="notice")
        yield Tile(status.progress, id="progress", classes="notice")
        yield from self.body()
        yield Tile(_modes, id="modes", every=5, follows_view=True)
        yield Tile(keybar.keybar, id="keybar", every=5, turn=1, follows_view=True)

    def on_resize(self, event: Resize) -> None:
        size = event.size
        chosen = next(name for name, width, height in SIZES if size.width >= width and size.height >= height)
        for name, _, _ in SIZES:
            self.set_class(name == chosen, name)
        self.set_class(size.height < 24, "low")
        self.call_after_refresh(self.redraw)

    def show(self, frame: Frame, view: View, tick: int) -> None:
        """Draws the frame."""
        self.frame, self.view = frame, view
        for tile in self.query(".notice").results(Tile):
            tile.fit_height(frame, view, Size(self.size.width, 1))
            tile.show(frame, view, tick)
        for name in ("#header", "#modes", "#keybar"):
            self.query_one(name, Tile).show(frame, view, tick)
        if tick % 5 == 0:
            self.redraw()


def blank(_frame: Frame, _view: View, _size: Size) -> StyledText:
    """The initial content of a tile that its screen draws with `put`."""
    return StyledText(())


def _modes(_frame: Frame, view: View, _size: Size) -> StyledText:
    return StyledText((line(*header.modes(view)),))
