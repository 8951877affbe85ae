"""The Log screen: the log of engine, load generator and console, with filter, follow and next warning."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Input

from console.model.frame import Frame, LogLine
from console.tui.panels import header, keybar, status
from console.tui.panels.live import switches
from console.tui.panels.live.events import log_line
from console.tui.styled_text import Span, StyledText, line
from console.tui.view import View
from console.tui.widgets.filter_field import FilterField
from console.tui.widgets.tile import Tile


class LogScreen(Screen[None]):
    """A window on the log. It stores its position as a line's sequence number, because the ring drops old lines."""

    CSS_PATH = "log.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("left,h", "pan(-8)", "Left", show=False),
        Binding("right,l", "pan(8)", "Right", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "to_end(False)", "Oldest", show=False),
        Binding("end,G", "to_end(True)", "Newest", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.follow = True
        self.filter_text = ""
        self._top_sequence = 0
        self._pan = 0
        self._marked = -1
        self._frame = Frame()
        self._view = View(mode="log")
        self._key: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Tile(header.header, id="header", follows_view=True)
        yield Tile(status.alarm, id="alarm", classes="notice")
        yield Tile(status.banner, id="banner", classes="notice")
        yield Tile(status.progress, id="progress", classes="notice")
        yield Tile(self._draw, id="log", classes="panel")
        yield FilterField("lines with all these words; enter accepts, esc clears")
        yield Tile(switches.bottom_line, id="bottom", every=5, follows_view=True)
        yield Tile(keybar.keybar, id="keybar", every=5, turn=1, follows_view=True)

    def show(self, frame: Frame, view: View, tick: int) -> None:
        """Draws the frame; the log itself only after a new line or a move of the window."""
        self._frame, self._view = frame, view
        for tile in self.query(Tile):
            if tile.has_class("notice"):
                tile.fit_height(frame, view, Size(self.size.width, 1))
            if tile.id != "log":
                tile.show(frame, view, tick)
        self.redraw()

    def redraw(self) -> None:
        """Draws the window if its content may have changed."""
        log = self.query_one("#log", Tile)
        position = (self.follow, self.filter_text, self._top_sequence, self._pan, self._marked)
        key = (self._frame.log_version, len(self._frame.log), log.text_size, *position)
        if key != self._key and log.text_size:
            self._key = key
            log.put(self._draw(self._frame, self._view, log.text_size))

    @property
    def entries(self) -> Sequence[LogLine]:
        """The lines that match the filter: they contain every word, ignoring case."""
        words = self.filter_text.lower().split()
        if not words:
            return self._frame.log
        return [entry for entry in self._frame.log if _matches(entry, words)]

    def _draw(self, _frame: Frame, _view: View, size: Size) -> StyledText:
        entries = self.entries
        top = self._top(entries, size.height)
        shown = list(entries)[top : top + size.height]
        rows = []
        for entry in shown:
            spans = log_line(entry, marked=entry.sequence == self._marked)
            if self._pan:
                text = spans[-1].text[self._pan :]
                spans = (*spans[:-1], spans[-1]._replace(text=text))
            rows.append(spans)
        if not rows:
            reason = "no line matches the filter" if self.filter_text else "nothing yet"
            rows = [line(Span(f" {reason}", "muted"))]
        return StyledText(tuple(rows), self._title(entries), self._foot(top, len(shown), len(entries)))

    def _title(self, entries: Sequence[LogLine]) -> str:
        words = f' · filter "{self.filter_text}"' if self.filter_text else ""
        return f"log · {len(entries):,} lines{words}"

    def _foot(self, top: int, shown: int, total: int) -> str:
        range_shown = f"{top + 1:,}–{top + shown:,} of {total:,}" if shown else ""
        return f"following · {range_shown}" if self.follow else f"{range_shown} · f follow"

    def _top(self, entries: Sequence[LogLine], height: int) -> int:
        last_top = max(0, len(entries) - height)
        if self.follow:
            return last_top
        at = next((i for i, entry in enumerate(entries) if entry.sequence >= self._top_sequence), last_top)
        return min(at, last_top)

    def _move_to(self, top: int) -> None:
        entries = self.entries
        height = self.query_one("#log", Tile).text_size.height
        last_top = max(0, len(entries) - height)
        top = max(0, min(top, last_top))
        self.follow = False
        self._top_sequence = entries[top].sequence if entries else 0
        self.redraw()

    def action_move(self, rows: int) -> None:
        """Moves by lines and stops following."""
        height = self.query_one("#log", Tile).text_size.height
        self._move_to(self._top(self.entries, height) + rows)

    def action_page(self, pages: int) -> None:
        """Moves by the window's height less one line."""
        self.action_move(pages * max(1, self.query_one("#log", Tile).text_size.height - 1))

    def action_pan(self, columns: int) -> None:
        """Scrolls long lines sideways."""
        self._pan = max(0, self._pan + columns)
        self.redraw()

    def action_to_end(self, newest: bool) -> None:
        """Goes to the newest line and follows it, or goes to the oldest one."""
        if newest:
            self.toggle_follow(on=True)
        else:
            self._move_to(0)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Handles the mouse wheel."""
        event.stop()
        self.action_move(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Handles the mouse wheel."""
        event.stop()
        self.action_move(3)

    def toggle_follow(self, *, on: bool | None = None) -> None:
        """Follows the newest line, or stops following."""
        if self.follow if on is None else not on:
            self.action_move(0)
        else:
            self.follow, self._marked = True, -1
            self.redraw()

    def next_warning(self) -> bool:
        """Goes to the next warning or error after the marked one. Returns False if none matches the filter."""
        warnings = [i for i, entry in enumerate(self.entries) if entry.level in {"warning", "error"}]
        if not warnings:
            return False
        entries = self.entries
        at = next((i for i in warnings if entries[i].sequence > self._marked), warnings[0])
        self._marked = entries[at].sequence
        height = self.query_one("#log", Tile).text_size.height
        self._move_to(at - height // 2)
        return True

    def open_filter(self) -> None:
        """Opens the input field of the filter."""
        self.query_one(FilterField).open(self.filter_text)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Applies the filter while it is typed."""
        self.filter_text = event.value.strip()
        self.redraw()

    def on_input_submitted(self) -> None:
        """Closes the field and keeps the filter."""
        self.query_one(FilterField).close()

    def on_key(self, event: events.Key) -> None:
        """Clears the filter on Esc, also while its field is closed."""
        if event.key == "escape":
            self.filter_text = ""
            self.query_one(FilterField).close()
            self.redraw()


def _matches(entry: LogLine, words: list[str]) -> bool:
    text = f"{entry.wall_time} {entry.level} {entry.source} {entry.text}".lower()
    return all(word in text for word in words)
