"""The Runs screen: the runs of the store, with filter, marks, tags, notes and details."""

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


CHECK_EVERY_TICKS = 10
"""Ticks of the 10 Hz clock between two checks for new runs of a sweep."""


class RunsScreen(ModeScreen):
    """Shows the list of runs as it was last read, the filter and the selected run."""

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
        self.filter_text = ""
        self.error = ""
        self.all: Sequence[ListedRun] | None = None
        self.listed: Sequence[ListedRun] = ()
        self.window = ListWindow()
        self.opened: OpenedRun | None = None
        self._opening = ""
        self._last_selected = ""
        self._cells_measured = 0

    def body(self) -> ComposeResult:
        with Container(id="body"):
            yield Tile(blank, id="list", classes="panel")
            with Container(id="details"):
                yield Tile(blank, id="facts", classes="panel")
                yield Tile(blank, id="history", classes="panel")
        yield Tile(blank, id="brief", classes="panel")
        yield FilterField("runs with all these words; -word excludes; enter accepts, esc clears")

    @property
    def selected(self) -> ListedRun | None:
        """The run under the cursor; None if the list is empty."""
        return self.listed[self.window.cursor] if self.listed else None

    # ---- reading

    def on_screen_resume(self) -> None:
        """Reads the list again: it may have changed while another mode was shown."""
        self._cells_measured = self._count_measured_cells()
        self.reload()

    def show(self, frame: Frame, view: View, tick: int) -> None:
        super().show(frame, view, tick)
        if tick % CHECK_EVERY_TICKS == 0 and (measured := self._count_measured_cells()) != self._cells_measured:
            self._cells_measured = measured
            self._read_again()

    def _count_measured_cells(self) -> int:
        """Number of measured cells of the running sweep: each one is a new run.

        The store is read only when it changes, so that reading does not disturb the cell being measured.
        """
        try:
            state = self.console_app.experiments_port.sweeps.state
        except CommandRefused:
            return 0
        measured = sum(one.figures is not None for one in state.points) if state is not None else 0
        return measured + self.console_app.experiments.recording.notices

    def reload(self) -> None:
        """Reads the runs and the details of the selected one again, in the background."""
        self.opened, self._opening = None, ""
        self._read_again()

    def _read_again(self) -> None:
        self.console_app.in_background("reading the runs", self._read(), owner=self, failed=self._show_error)

    def _show_error(self, error: str) -> None:
        self.all, self.error = self.all or (), error
        self.redraw()

    async def _read(self) -> None:
        try:
            self.all = await self.console_app.experiments_port.runs.runs()
            self.error = ""
        except CommandRefused as refusal:
            self.all, self.error = self.all or (), str(refusal)
        self._filter()

    def _filter(self) -> None:
        selected = self.selected
        wanted = self.filter_text.lower().split()
        included, excluded = [w for w in wanted if w[0] != "-"], [w[1:] for w in wanted if w[0] == "-" and w[1:]]
        self.listed = [
            run
            for run in self.all or ()
            if all(word in run.words for word in included) and not any(word in run.words for word in excluded)
        ]
        if selected is not None:
            same = (index for index, run in enumerate(self.listed) if run.row.run_id == selected.row.run_id)
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
            brief.put(StyledText(run_table.brief(self.selected.row, brief.text_size.width) if self.selected else ()))
        self._redraw_details()

    def _list(self, size: Size) -> StyledText:
        title = f"runs · {len(self.listed):,}" + (f" of {len(self.all or ()):,}" if self.filter_text else "")
        title += f' · filter "{self.filter_text}"' if self.filter_text else ""
        if not self.listed:
            return StyledText(self._empty(size), title)
        columns = run_table.fit_columns(size.width)
        compared = self.frame.experiments.compared_run_ids
        marked = {run_id: number for number, run_id in enumerate(compared, start=1)}
        rows: list[Line] = [run_table.head(columns)]
        for index in self.window.visible:
            click = f"screen.click_at({index})"
            here = index == self.window.cursor
            rows.append(run_table.row_line(self.listed[index], columns, here=here, marked=marked, click=click))
        foot = f"{self.window.cursor + 1:,} of {len(self.listed):,}"
        if compared:
            foot = f"{len(compared)} marked · {foot}"
        return StyledText(tuple(rows), title, self.error or foot)

    def _empty(self, size: Size) -> Lines:
        if self.error:
            return (line(), *wrap(f"✖ {self.error}", size.width - 2, "bad"))
        if self.all is None:
            return (line(), line(Span(" reading the store…", "muted")))
        if self.filter_text:
            return (line(), line(Span(" no run matches the filter: ", "muted"), Span("esc", "key"), Span(" clears it")))
        return (
            line(),
            line(Span(" No runs yet.", "strong")),
            line(),
            line(
                *(Span(f" {self.view.key('mode_sweep')} ", "key", "mode_sweep"), Span(" then ", "muted")),
                *(Span(self.view.key("sweep_new"), "key"), Span(" starts a sweep")),
            ),
            line(Span(" embedconsole run … ", "accent"), Span("measures one cell", "muted")),
            line(),
            line(Span(f" stored in {self.console_app.experiments_port.runs.path}", "muted")),
        )

    def _redraw_details(self) -> None:
        details, charts = self.query_one("#facts", Tile), self.query_one("#history", Tile)
        selected = self.selected
        if not details.text_size or not self.query_one("#details").display:
            return
        if selected is None:
            details.put(StyledText((), "run"))
            charts.put(StyledText((), "timeline"))
        elif self.opened is not None and self.opened.run.row.run_id == selected.row.run_id:
            rows = facts.facts(self.opened, details.text_size.width)[: details.text_size.height]
            details.put(StyledText(rows, facts.title(self.opened), f"{self.view.key('run_open')} open"))
            charts.put(StyledText(curves(self.opened, charts.text_size), "timeline"))
        elif self._last_selected == selected.row.run_id and self._opening != selected.row.run_id:
            # the cursor has not moved since the last redraw: runs that it only passes are not read
            self._opening = selected.row.run_id
            self.console_app.in_background("reading a run", self._open(selected.row.run_id), owner=self)
        self._last_selected = selected.row.run_id if selected is not None else ""

    async def _open(self, run_id: str) -> None:
        """Reads the details of a run."""
        try:
            self.opened = await self.console_app.experiments_port.runs.run(run_id)
        except CommandRefused as refusal:
            self.console_app.show_message(str(refusal), severity="warning")
        self.redraw()

    # ---- moving

    def _moved(self) -> None:
        tile = self.query_one("#list", Tile)
        self.window = self.window.fitted(len(self.listed), tile.text_size.height - 1)
        selected = self.selected
        self.console_app.update_context(selected_run_id=selected.row.run_id if selected is not None else "")
        self.redraw()

    def action_move(self, rows: int) -> None:
        """Moves the cursor by rows."""
        self.window = self.window.moved(rows)
        self._moved()

    def action_page(self, pages: int) -> None:
        """Moves the cursor by the window's height less one line."""
        self.action_move(pages * max(1, self.window.height - 1))

    def action_go_to(self, row: int) -> None:
        """Moves the cursor to a row: 0 is the newest run, -1 the oldest."""
        self.window = self.window.at(row if row >= 0 else self.window.total - 1)
        self._moved()

    def action_click_at(self, row: int) -> None:
        """Moves the cursor to the clicked run; a second click opens it."""
        if row == self.window.cursor:
            opening = self.console_app.action_perform("run_open")
            self.console_app.in_background("opening a run", opening, owner=self)
            return
        self.action_go_to(row)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Handles the mouse wheel."""
        event.stop()
        self.action_move(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Handles the mouse wheel."""
        event.stop()
        self.action_move(3)

    def export_rows(self) -> list[dict[str, Any]]:
        """The runs that match the filter."""
        return of_runs([run.row for run in self.listed])

    # ---- the filter

    def open_filter(self) -> None:
        """Opens the input field of the filter."""
        self.query_one(FilterField).open(self.filter_text)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Applies the filter while it is typed."""
        self.filter_text = event.value.strip()
        self._filter()

    def on_input_submitted(self) -> None:
        """Closes the field and keeps the filter."""
        self.query_one(FilterField).close()

    def action_clear_filter(self) -> None:
        """Clears the filter."""
        self.filter_text = ""
        self.query_one(FilterField).close()
        self._filter()
