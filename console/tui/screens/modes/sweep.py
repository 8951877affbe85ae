"""The Sweep screen: the matrix of cells, the selected cell, live charts and the Pareto front."""

from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.geometry import Size

from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.output.export import of_sweep
from console.sweep.state import PointState, PointStatus
from console.tui.chart.charts import LATENCY, THROUGHPUT, Chart
from console.tui.panels.sweep import cell as sweep_cell
from console.tui.panels.sweep import matrix as sweep_matrix
from console.tui.panels.sweep.matrix import SweepGrid, Values
from console.tui.screens.modes.mode import ModeScreen, blank
from console.tui.styled_text import Line, Lines, Span, StyledText, line
from console.tui.view import View
from console.tui.widgets.chart_tile import ChartTile
from console.tui.widgets.list_window import ListWindow
from console.tui.widgets.tile import Tile

if TYPE_CHECKING:
    from console.sweep.state import SweepState


class SweepScreen(ModeScreen):
    """Draws the newest state of the sweep. The cursor follows the running cell until it is moved."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1, 0)", "Up", show=False),
        Binding("down,j", "move(1, 0)", "Down", show=False),
        Binding("left,h", "move(0, -1)", "Left", show=False),
        Binding("right,l", "move(0, 1)", "Right", show=False),
        Binding("pageup", "move(-10, 0)", "Page up", show=False),
        Binding("pagedown", "move(10, 0)", "Page down", show=False),
        Binding("home,g", "move(-9999, -9999)", "First", show=False),
        Binding("end,G", "move(9999, 9999)", "Last", show=False),
        Binding("escape", "follow", "Follow the running cell", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.cursor = (0, 0)
        self.follow = True
        self.chosen_values: Values | None = None
        self.window = ListWindow()
        self._shown_values = Values.TEXTS
        self._grid: tuple[str, SweepGrid] | None = None

    def body(self) -> ComposeResult:
        yield Tile(blank, id="sweep-progress")
        with Container(id="body"):
            yield Tile(blank, id="matrix", classes="panel")
            with Container(id="details"):
                yield Tile(blank, id="cell", classes="panel")
                yield ChartTile(Chart("running now · texts/s", THROUGHPUT), id="throughput", classes="panel")
                yield ChartTile(Chart("latency ms", LATENCY, log=True), id="latency", classes="panel")
                yield Tile(blank, id="pareto", classes="panel")

    # ---- what is shown

    @property
    def state(self) -> "SweepState | None":
        """The newest state; None before the first sweep of this console."""
        try:
            return self.console_app.experiments_port.sweeps.state
        except CommandRefused:
            return None

    def grid(self, state: "SweepState") -> SweepGrid:
        """The grid of a sweep; made once for each sweep."""
        if self._grid is None or self._grid[0] != state.sweep_id:
            self._grid = (state.sweep_id, sweep_matrix.grid_of(state.points))
            self.cursor, self.follow = (0, 0), True
        return self._grid[1]

    @property
    def cell_index(self) -> int | None:
        """Index in the sweep of the cell under the cursor; None if there is none."""
        state = self.state
        return None if state is None else self.grid(state).indices[self.cursor[0]][self.cursor[1]]

    @property
    def selected(self) -> PointState | None:
        """The cell under the cursor; None if there is none."""
        state, index = self.state, self.cell_index
        return None if state is None or index is None else state.points[index]

    def show(self, frame: Frame, view: View, tick: int) -> None:
        active = frame.experiments.sweep_stage.active
        self.set_class(active, "active")
        super().show(frame, view, tick)
        if active:
            for tile in self.query(ChartTile):
                tile.show(frame, view, tick)

    def redraw(self) -> None:
        state = self.state
        matrix = self.query_one("#matrix", Tile)
        if not matrix.text_size:
            return
        self.set_class(state is None, "empty")
        if state is None or not state.points:
            matrix.put(StyledText(_empty(self.view), "sweep"))
            self._update_context(None)
            return
        if self.follow and (running := state.running) is not None:
            self.cursor = self.grid(state).find(running)
        self._update_context(self.selected)
        progress = self.query_one("#sweep-progress", Tile)
        progress.put(StyledText(sweep_cell.progress(state, progress.text_size.width, self.view.registry)))
        matrix.put(self._matrix(state, matrix.text_size))
        self._redraw_details(state)

    def _redraw_details(self, state: "SweepState") -> None:
        cell, pareto = self.query_one("#cell", Tile), self.query_one("#pareto", Tile)
        selected = self.selected
        none = (line(Span("this sweep has no such cell", "muted")),)
        facts = none if selected is None else sweep_cell.facts(selected, cell.text_size.width)
        cell.put(StyledText(facts[: cell.text_size.height], "cell"))
        if pareto.display and pareto.text_size:
            pareto.put(StyledText(sweep_cell.pareto(state, pareto.text_size), "Pareto front: throughput vs p95"))

    def _update_context(self, selected: PointState | None) -> None:
        waits = selected is not None and selected.status is PointStatus.WAITING
        run_id = selected.figures.run_id if selected is not None and selected.figures is not None else ""
        context = self.console_app.experiments
        if (context.selected_cell_skippable, context.selected_cell_run_id) != (waits, run_id):
            self.console_app.update_context(selected_cell_skippable=waits, selected_cell_run_id=run_id)

    def _matrix(self, state: "SweepState", size: Size) -> StyledText:
        grid = self.grid(state)
        fit = sweep_matrix.widths(grid, size.width, self.cursor[1])
        values = self.chosen_values or (Values.BOTH if fit.column >= sweep_matrix.BOTH_FROM else Values.TEXTS)
        self._shown_values = values
        rows: list[Line] = sweep_matrix.head(grid, state, fit)
        legend = size.height - len(rows) - len(grid.rows) >= 2
        self.window = ListWindow(cursor=self.cursor[0], top=self.window.top).fitted(
            len(grid.rows), size.height - len(rows)
        )
        cursor = self.cursor
        rows += [
            sweep_matrix.matrix_row(grid, state, self.frame, row, fit, values, cursor) for row in self.window.visible
        ]
        if legend:
            rows += [line()] * (size.height - len(rows) - 1) + [line(Span(sweep_matrix.LEGEND, "muted"))]
        more = [
            f"rows {self.window.top + 1}–{self.window.visible.stop} of {len(grid.rows)}"
            if len(self.window.visible) < len(grid.rows)
            else "",
            f"columns {fit.first + 1}–{fit.first + fit.count} of {len(grid.columns)}"
            if fit.count < len(grid.columns)
            else "",
            "" if self.follow or not self.frame.experiments.sweep_stage.active else "esc follows the running cell",
        ]
        return StyledText(
            tuple(rows), f"{values} · batch × concurrency by deployment", " · ".join(part for part in more if part)
        )

    # ---- moving

    def action_move(self, rows: int, columns: int) -> None:
        """Moves the cursor, at most to the edges of the matrix."""
        state = self.state
        if state is None:
            return
        grid = self.grid(state)
        row = max(0, min(len(grid.rows) - 1, self.cursor[0] + rows))
        column = max(0, min(len(grid.columns) - 1, self.cursor[1] + columns))
        self.cursor, self.follow = (row, column), False
        self.redraw()

    def action_click_at(self, row: int, column: int) -> None:
        """Moves the cursor to the clicked cell; a second click opens its run."""
        if (row, column) == self.cursor:
            opening = self.console_app.action_perform("sweep_open")
            self.console_app.in_background("opening a run", opening, owner=self)
        self.cursor, self.follow = (row, column), False
        self.redraw()

    def action_follow(self) -> None:
        """Moves the cursor to the running cell and follows it."""
        self.follow = True
        self.redraw()

    def export_rows(self) -> list[dict[str, Any]]:
        """One row for each cell."""
        state = self.state
        return of_sweep(state) if state is not None else []

    def next_values(self) -> None:
        """Shows the next choice of figures in the matrix."""
        order = list(Values)
        self.chosen_values = order[(order.index(self.chosen_values or self._shown_values) + 1) % len(order)]
        self.redraw()


def _empty(view: View) -> Lines:
    return (
        line(),
        line(Span(" No sweep in this console yet.", "strong")),
        line(),
        line(
            Span(f" {view.key('sweep_new')} ", "key", "sweep_new"),
            Span("starts one from a preset or a file, with an estimate of its duration"),
        ),
        line(Span(f" {view.key('mode_runs')} ", "key", "mode_runs"), Span("lists the stored runs")),
        line(),
        line(Span(view.registry.with_keys(" An interrupted sweep can be resumed: {sweep_new}"), "muted")),
    )
