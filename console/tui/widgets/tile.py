"""A tile: a bordered box of ink that repaints only the lines that changed."""

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
"""Ticks: another title repaints the whole border, so a figure in it moves at 2 Hz."""

Draw = Callable[[Frame, View, Size], StyledText]


class Tile(Widget):
    """Draws what `draw` makes of a frame. Repainting costs per changed line, so a still figure costs nothing."""

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
        """`every`: draw on each so many ticks of the UI clock (1: 10 Hz, 5: 2 Hz); `turn`: on which of them.

        `follows_view`: what it says depends on zoom, freeze or mode, so it is drawn at once when they change.
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
        self._seen: tuple[Frame, View, Size] | None = None
        self.text_size = Size(0, 0)

    def on_resize(self) -> None:
        """Keeps the size of what is inside the border: asking for it costs a walk through the tree."""
        if self.text_size != self.size:
            self.text_size = self.size
            self.refresh()

    def show(self, frame: Frame, view: View, tick: int) -> None:
        """Draws the frame if it is this tile's turn and something it shows may have changed."""
        if not self.display or not self.text_size:
            return
        seen, view = self._seen, view if self._follows_view else view.still
        same_look = seen is not None and seen[1:] == (view, self.text_size)
        if same_look and seen is not None and (seen[0] is frame or tick % self._every != self._turn):
            return
        self._seen = (frame, view, self.text_size)
        picture = self._draw(frame, view, self.text_size)
        if same_look and tick % TITLES_EVERY:
            picture = picture._replace(title=self._titles[0], subtitle=self._titles[1])
        self.put(picture)

    def show_rows(self, frame: Frame, view: View, size: Size) -> None:
        """Takes as many rows as it has lines to say at this width; none: it is not there."""
        rows = len(self._draw(frame, view, size).lines)
        if self.display != bool(rows):
            self.display = bool(rows)
        if rows and rows != self._rows:
            self._rows = rows
            self.styles.height = rows

    def put(self, picture: StyledText) -> None:
        """Takes new lines and marks as dirty those that differ."""
        if self._titles != (picture.title, picture.subtitle):
            self._titles = (picture.title, picture.subtitle)
            self.border_title = Content(picture.title)
            self.border_subtitle = Content(picture.subtitle)
        old, self._lines = self._lines, picture.lines
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
        """What the tile says, as plain text."""
        return "\n".join(plain(spans) for spans in self._lines)

    def render_line(self, y: int) -> Strip:
        width = self.text_size.width
        spans = self._lines[y] if y < len(self._lines) else ()
        strip = self._styled(clip(spans, width), width, y)
        if selection := self.text_selection:
            strip = self._selected(strip, selection, y)
        return strip

    def _styled(self, spans: Line, width: int, y: int) -> Strip:
        """The line in this theme's colours, filled up to the width."""
        palette = self._palette or self._take_palette()
        place = None if self.SELECTABLE else (-1, -1)
        segments, x = [], 0
        for span in spans:
            if span.text:
                segments.append(Segment(span.text, style_at(palette, span.role, span.action, *(place or (x, y)))))
                x += cell_len(span.text)
        if x < width:
            segments.append(Segment(" " * (width - x), style_at(palette, "value", "", *(place or (x, y)))))
        return Strip(segments, width)

    def _take_palette(self) -> Palette:
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
        """Another theme: other colours."""
        super().notify_style_update()
        self._palette = None
