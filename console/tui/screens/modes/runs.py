"""The Runs screen: all that the store holds, with filter, marks, tags, notes and details. Keyboard first."""

from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.geometry import Size
from textual.widgets import Input

from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.output.export import of_runs
from console.services.ports import ListedRun
from console.tui.panels.runs import facts, run_table
from console.tui.panels.runs.chart import curves
from console.tui.screens.modes.mode import ModeScreen, blank
from console.tui.styled_text import Line, Lines, Span, StyledText, line, wrap
from console.tui.view import View
from console.tui.widgets.filter_field import FilterField
from console.tui.widgets.list_window import ListWindow
from console.tui.widgets.tile import Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from console.store.opened_run import OpenedRun


LOOK_EVERY = 10
"""Ticks of the 10 Hz clock."""


class RunsScreen(ModeScreen):
    """Owns the list as it was read last, the filter and the cursor; the store is asked through the app's port."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "go_to(0)", "Newest", show=False),
        Binding("end,G", "go_to(-1)", "Oldest", show=False),
        Binding("escape", "clear_filter", "Clear the filter", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.words = ""
        self.trouble = ""
        self.all: Sequence[ListedRun] | None = None
        self.listed: Sequence[ListedRun] = ()
        self.window = ListWindow()
        self.opened: OpenedRun | None = None
        self._asked_for = ""
        self._rested_on = ""
        self._over = 0

    def body(self) -> ComposeResult:
        with Container(id="body"):
            yield Tile(blank, id="list", classes="panel")
            with Container(id="aside"):
                yield Tile(blank, id="facts", classes="panel")
                yield Tile(blank, id="history", classes="panel")
        yield Tile(blank, id="brief", classes="panel")
        yield FilterField("words that must all be there; -word: must not; enter keeps, esc clears")

    @property
    def here(self) -> ListedRun | None:
        """The run under the cursor."""
        return self.listed[self.window.cursor] if self.listed else None

    # ---- reading

    def on_screen_resume(self) -> None:
        """The list may have grown while another mode was shown."""
        self._over = self._cells_over()
        self.reload()

    def show(self, frame: Frame, view: View, tick: int) -> None:
        super().show(frame, view, tick)
        if tick % LOOK_EVERY == 0 and (over := self._cells_over()) != self._over:
            self._over = over
            self._read_again()

    def _cells_over(self) -> int:
        """Of this console's sweep: each one is another run. Reading only then spares the cell that is measured."""
        try:
            state = self.console_app.experiments_port.sweeps.state
        except CommandRefused:
            return 0
        return sum(one.figures is not None for one in state.points) if state is not None else 0

    def reload(self) -> None:
        """Reads the store again, in the background; what is open is opened anew."""
        self.opened, self._asked_for = None, ""
        self._read_again()

    def _read_again(self) -> None:
        self.console_app.in_background("reading the runs", self._read(), owner=self, failed=self._not_read)

    def _not_read(self, why: str) -> None:
        self.all, self.trouble = self.all or (), why
        self.redraw()

    async def _read(self) -> None:
        try:
            self.all = await self.console_app.experiments_port.runs.runs()
            self.trouble = ""
        except CommandRefused as refusal:
            self.all, self.trouble = self.all or (), str(refusal)
        self._filter()

    def _filter(self) -> None:
        here = self.here
        wanted = self.words.lower().split()
        with_, without = [w for w in wanted if w[0] != "-"], [w[1:] for w in wanted if w[0] == "-" and w[1:]]
        self.listed = [
            run
            for run in self.all or ()
            if all(word in run.words for word in with_) and not any(word in run.words for word in without)
        ]
        if here is not None:
            same = (at for at, run in enumerate(self.listed) if run.row.run_id == here.row.run_id)
            self.window = ListWindow(cursor=next(same, self.window.cursor), top=self.window.top)
        self._moved()

    # ---- drawing

    def redraw(self) -> None:
        tile = self.query_one("#list", Tile)
        if not tile.text_size:
            return
        self.window = self.window.fitted(len(self.listed), tile.text_size.height - 1)
        tile.put(self._list(tile.text_size))
        brief = self.query_one("#brief", Tile)
        if brief.display and brief.text_size:
            brief.put(StyledText(run_table.brief(self.here.row, brief.text_size.width) if self.here else ()))
        self._aside()

    def _list(self, size: Size) -> StyledText:
        title = f"runs · {len(self.listed):,}" + (f" of {len(self.all or ()):,}" if self.words else "")
        title += f' · filter "{self.words}"' if self.words else ""
        if not self.listed:
            return StyledText(self._empty(size), title)
        columns = run_table.fitted(size.width)
        at = self.frame.experiments
        marked = {run_id: number for number, run_id in enumerate(at.compared_run_ids, start=1)}
        rows: list[Line] = [run_table.head(columns)]
        for path in self.window.seen:
            click = f"screen.click_at({path})"
            here = path == self.window.cursor
            rows.append(run_table.row_line(self.listed[path], columns, here=here, marked=marked, click=click))
        foot = f"{self.window.cursor + 1:,} of {len(self.listed):,}"
        if at.compared_run_ids:
            foot = f"{len(at.compared_run_ids)} marked · {foot}"
        return StyledText(tuple(rows), title, self.trouble or foot)

    def _empty(self, size: Size) -> Lines:
        if self.trouble:
            return (line(), *wrap(f"✖ {self.trouble}", size.width - 2, "bad"))
        if self.all is None:
            return (line(), line(Span(" reading the store …", "muted")))
        if self.words:
            return (line(), line(Span(" no run passes the filter: ", "muted"), Span("esc", "key"), Span(" clears it")))
        return (
            line(),
            line(Span(" No run yet.", "strong")),
            line(),
            line(
                *(Span(f" {self.view.key('mode_sweep')} ", "key", "mode_sweep"), Span(" then ", "muted")),
                *(Span(self.view.key("sweep_new"), "key"), Span(" measures a sweep")),
            ),
            line(Span(" embedconsole run … ", "accent"), Span("measures one cell", "muted")),
            line(),
            line(Span(f" kept in {self.console_app.experiments_port.runs.path}", "muted")),
        )

    def _aside(self) -> None:
        tile, below, here = self.query_one("#facts", Tile), self.query_one("#history", Tile), self.here
        if not tile.text_size or not self.query_one("#aside").display:
            return
        if here is None:
            tile.put(StyledText((), "run"))
            below.put(StyledText((), "its seconds"))
        elif self.opened is not None and self.opened.run.row.run_id == here.row.run_id:
            rows = facts.facts(self.opened, tile.text_size.width)
            tile.put(
                StyledText(
                    rows[: tile.text_size.height], facts.title(self.opened), f"{self.view.key('run_open')} opens"
                )
            )
            below.put(StyledText(curves(self.opened, below.text_size), "its seconds"))
        elif self._rested_on == here.row.run_id and self._asked_for != here.row.run_id:
            self._asked_for = here.row.run_id
            self.console_app.in_background("reading a run", self._open_aside(here.row.run_id), owner=self)
        self._rested_on = here.row.run_id if here is not None else ""

    async def _open_aside(self, run_id: str) -> None:
        """Of the run on which the cursor rests."""
        try:
            self.opened = await self.console_app.experiments_port.runs.run(run_id)
        except CommandRefused as refusal:
            self.console_app.show_message(str(refusal), severity="warning")
        self.redraw()

    # ---- moving

    def _moved(self) -> None:
        tile = self.query_one("#list", Tile)
        self.window = self.window.fitted(len(self.listed), tile.text_size.height - 1)
        here = self.here
        self.console_app.update_context(selected_run_id=here.row.run_id if here is not None else "")
        self.redraw()

    def action_move(self, rows: int) -> None:
        """Up or down."""
        self.window = self.window.moved(rows)
        self._moved()

    def action_page(self, pages: int) -> None:
        """By the window's height, less one line."""
        self.action_move(pages * max(1, self.window.height - 1))

    def action_go_to(self, row: int) -> None:
        """The newest (0) or the oldest (-1)."""
        self.window = self.window.at(row if row >= 0 else self.window.total - 1)
        self._moved()

    def action_click_at(self, row: int) -> None:
        """A click moves the cursor; a second one opens the run."""
        if row == self.window.cursor:
            opening = self.console_app.action_perform("run_open")
            self.console_app.in_background("opening a run", opening, owner=self)
            return
        self.action_go_to(row)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel."""
        event.stop()
        self.action_move(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel."""
        event.stop()
        self.action_move(3)

    def exported(self) -> list[dict[str, Any]]:
        """The runs that pass the filter."""
        return of_runs([run.row for run in self.listed])

    # ---- the filter

    def open_filter(self) -> None:
        """Shows the filter's field and gives it the keys."""
        self.query_one(FilterField).ask(self.words)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filters as it is typed."""
        self.words = event.value.strip()
        self._filter()

    def on_input_submitted(self) -> None:
        """Keeps the filter."""
        self.query_one(FilterField).close()

    def action_clear_filter(self) -> None:
        """All of them again."""
        self.words = ""
        self.query_one(FilterField).close()
        self._filter()
