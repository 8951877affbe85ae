"""The Log screen: what engine, driver and console said, with filter, follow and the next warning."""

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
    """A window on the log. Where it stands is kept by a line's number, so that the ring may drop older ones."""

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
        self.words = ""
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
        yield FilterField("only lines with these words; enter keeps, esc clears")
        yield Tile(switches.bottom_line, id="bottom", every=5, follows_view=True)
        yield Tile(keybar.keybar, id="keybar", every=5, turn=1, follows_view=True)

    def show(self, frame: Frame, view: View, tick: int) -> None:
        """Draws what is new; the log itself only when a line has come or the window has moved."""
        self._frame, self._view = frame, view
        for tile in self.query(Tile):
            if tile.has_class("notice"):
                tile.show_rows(frame, view, Size(self.size.width, 1))
            if tile.id != "log":
                tile.show(frame, view, tick)
        self.redraw()

    def redraw(self) -> None:
        """Draws the window if anything in it may have changed."""
        log = self.query_one("#log", Tile)
        place = (self.follow, self.words, self._top_sequence, self._pan, self._marked)
        key = (self._frame.log_version, len(self._frame.log), log.text_size, *place)
        if key != self._key and log.text_size:
            self._key = key
            log.put(self._draw(self._frame, self._view, log.text_size))

    @property
    def entries(self) -> Sequence[LogLine]:
        """The lines that pass the filter: every word must be in the line, in any case."""
        words = self.words.lower().split()
        if not words:
            return self._frame.log
        return [entry for entry in self._frame.log if _passes(entry, words)]

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
            reason = "no line passes the filter" if self.words else "nothing yet"
            rows = [line(Span(f" {reason}", "muted"))]
        return StyledText(tuple(rows), self._title(entries), self._foot(top, len(shown), len(entries)))

    def _title(self, entries: Sequence[LogLine]) -> str:
        words = f' · filter "{self.words}"' if self.words else ""
        return f"log · {len(entries):,} lines{words}"

    def _foot(self, top: int, shown: int, total: int) -> str:
        place = f"{top + 1:,}–{top + shown:,} of {total:,}" if shown else ""
        return f"following · {place}" if self.follow else f"{place} · f follow"

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
        """Up or down by lines; leaves following."""
        height = self.query_one("#log", Tile).text_size.height
        self._move_to(self._top(self.entries, height) + rows)

    def action_page(self, pages: int) -> None:
        """Up or down by the window's height, less one line."""
        self.action_move(pages * max(1, self.query_one("#log", Tile).text_size.height - 1))

    def action_pan(self, columns: int) -> None:
        """Left or right in long lines."""
        self._pan = max(0, self._pan + columns)
        self.redraw()

    def action_to_end(self, newest: bool) -> None:
        """The newest line, followed from then on, or the oldest."""
        if newest:
            self.toggle_follow(on=True)
        else:
            self._move_to(0)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel."""
        event.stop()
        self.action_move(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel."""
        event.stop()
        self.action_move(3)

    def toggle_follow(self, *, on: bool | None = None) -> None:
        """Stays at the newest line, or at the place where it is."""
        if self.follow if on is None else not on:
            self.action_move(0)
        else:
            self.follow, self._marked = True, -1
            self.redraw()

    def next_warning(self) -> bool:
        """Goes to the next warning or error after the marked one; False when the filter lets none through."""
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
        """Shows the filter's field and gives it the keys."""
        self.query_one(FilterField).ask(self.words)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filters as it is typed."""
        self.words = event.value.strip()
        self.redraw()

    def on_input_submitted(self) -> None:
        """Keeps the filter."""
        self.query_one(FilterField).close()

    def on_key(self, event: events.Key) -> None:
        """Esc clears the filter, in its field and outside it."""
        if event.key == "escape":
            self.words = ""
            self.query_one(FilterField).close()
            self.redraw()


def _passes(entry: LogLine, words: list[str]) -> bool:
    text = f"{entry.wall_time} {entry.level} {entry.source} {entry.text}".lower()
    return all(word in text for word in words)
