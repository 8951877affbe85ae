"""A tile: a bordered box of styled text that repaints only the lines that have changed."""

from collections.abc import Callable

from rich.cells import cell_len
from rich.segment import Segment
from textual.content import Content
from textual.geometry import Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from console.model.frame import Frame
from console.tui.styled_text import Line, Lines, StyledText, clip, plain
from console.tui.view import View
from console.tui.widgets.styles import COLOURS, Palette, role_styles, style_at

TITLES_EVERY = 5
"""Ticks between two changes of the titles: a new title repaints the whole border, so it changes at 2 Hz."""

Draw = Callable[[Frame, View, Size], StyledText]
"""Makes the content of a tile for the size inside its border."""


class Tile(Widget):
    """Shows what `draw` returns for a frame. A line that has not changed is not repainted."""

    SELECTABLE = True
    """Whether its text can be selected with the mouse."""

    def __init__(
        self,
        draw: Draw,
        *,
        id: str,  # noqa: A002 Textual's name
        every: int = 1,
        turn: int = 0,
        follows_view: bool = False,
        classes: str = "",
    ) -> None:
        """`every`: draw on every n-th tick of the 10 Hz clock (5: 2 Hz). `turn`: the remainder, which spreads the work.

        `follows_view`: the content depends on zoom, freeze or mode; the tile is drawn at once when they change.
        """
        super().__init__(id=id, classes=classes)
        self._draw = draw
        self._every = every
        self._turn = turn
        self._follows_view = follows_view
        self._lines: Lines = ()
        self._titles = ("", "")
        self._rows = 0
        self._palette: Palette | None = None
        self._drawn: tuple[Frame, View, Size] | None = None
        self.text_size = Size(0, 0)

    def on_resize(self) -> None:
        """Caches the size inside the border: computing it walks through the widget tree."""
        if self.text_size != self.size:
            self.text_size = self.size
            self.refresh()

    def show(self, frame: Frame, view: View, tick: int) -> None:
        """Draws the frame on this tile's ticks, and at once after a change of view or size."""
        if not self.display or not self.text_size:
            return
        drawn, view = self._drawn, view if self._follows_view else view.unzoomed
        same_view = drawn is not None and drawn[1:] == (view, self.text_size)
        if same_view and drawn is not None and (drawn[0] is frame or tick % self._every != self._turn):
            return
        self._drawn = (frame, view, self.text_size)
        content = self._draw(frame, view, self.text_size)
        if same_view and tick % TITLES_EVERY:
            content = content._replace(title=self._titles[0], subtitle=self._titles[1])
        self.put(content)

    def fit_height(self, frame: Frame, view: View, size: Size) -> None:
        """Sets the height to the number of lines at the width of `size`. Hides the tile if there are none."""
        rows = len(self._draw(frame, view, size).lines)
        if self.display != bool(rows):
            self.display = bool(rows)
        if rows and rows != self._rows:
            self._rows = rows
            self.styles.height = rows

    def put(self, content: StyledText) -> None:
        """Replaces the content and repaints the lines that differ."""
        if self._titles != (content.title, content.subtitle):
            self._titles = (content.title, content.subtitle)
            self.border_title = Content(content.title)
            self.border_subtitle = Content(content.subtitle)
        old, self._lines = self._lines, content.lines
        width = self.text_size.width
        changed = [
            Region(0, y, width, 1)
            for y in range(max(len(old), len(self._lines)))
            if (old[y] if y < len(old) else None) != (self._lines[y] if y < len(self._lines) else None)
        ]
        if changed:
            self.refresh(*changed)

    @property
    def text(self) -> str:
        """The content as plain text."""
        return "\n".join(plain(spans) for spans in self._lines)

    def render_line(self, y: int) -> Strip:
        width = self.text_size.width
        spans = self._lines[y] if y < len(self._lines) else ()
        strip = self._styled(clip(spans, width), width, y)
        if selection := self.text_selection:
            strip = self._selected(strip, selection, y)
        return strip

    def _styled(self, spans: Line, width: int, y: int) -> Strip:
        """Returns the line in the colours of the theme, padded to the width."""
        palette = self._palette or self._read_palette()
        fixed = None if self.SELECTABLE else (-1, -1)
        segments, x = [], 0
        for span in spans:
            if span.text:
                segments.append(Segment(span.text, style_at(palette, span.role, span.action, *(fixed or (x, y)))))
                x += cell_len(span.text)
        if x < width:
            segments.append(Segment(" " * (width - x), style_at(palette, "value", "", *(fixed or (x, y)))))
        return Strip(segments, width)

    def _read_palette(self) -> Palette:
        variables = self.app.theme_variables
        used = {name for colour, _, background in COLOURS.values() for name in (colour, background) if name}
        colours = tuple((name, variables[name]) for name in sorted(used))
        background = self.background_colors[1].hex
        self._palette = Palette(self.app.theme, background, colours, self.app.no_color)
        role_styles(self._palette)
        return self._palette

    def _selected(self, strip: Strip, selection: Selection, y: int) -> Strip:
        span = selection.get_span(y)
        if span is None:
            return strip
        start, end = span
        end = strip.cell_length if end == -1 else min(end, strip.cell_length)
        style = self.screen.get_component_rich_style("screen--selection")
        left, middle, right = strip.divide([start, end, strip.cell_length])
        return Strip.join([left, middle.apply_style(style), right])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract(self.text), "\n"

    def notify_style_update(self) -> None:
        """Discards the colours of the old theme."""
        super().notify_style_update()
        self._palette = None
