"""The Compare screen: two to four runs side by side, the baseline first."""

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from console.compare.side_by_side import SideBySide, side_by_side
from console.model.errors import CommandRefused
from console.output.export import of_comparison
from console.tui.panels.compare import comparison
from console.tui.screens.modes.mode import ModeScreen, blank
from console.tui.styled_text import Lines, Span, StyledText, line, wrap
from console.tui.view import View
from console.tui.widgets.tile import Tile

if TYPE_CHECKING:
    from console.store.opened_run import OpenedRun


class CompareScreen(ModeScreen):
    """Compares the runs that are marked in Runs. It reads them again when the marks have changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", "Left", show=False),
        Binding("right,l", "move(1)", "Right", show=False),
        Binding("up,k", "scroll_by(-1)", "Up", show=False),
        Binding("down,j", "scroll_by(1)", "Down", show=False),
        Binding("pageup", "scroll_by(-10)", "Page up", show=False),
        Binding("pagedown", "scroll_by(10)", "Page down", show=False),
        Binding("home,g", "scroll_by(-9999)", "Top", show=False),
        Binding("end,G", "scroll_by(9999)", "End", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.comparison: SideBySide | None = None
        self.error = ""
        self.cursor = 0
        self.top = 0
        self.equal_rows = False
        self._read_runs: dict[str, OpenedRun] = {}
        self._wanted: tuple[str, ...] = ()

    def body(self) -> ComposeResult:
        with Container(id="body"):
            yield Tile(blank, id="compared", classes="panel")

    def on_screen_resume(self) -> None:
        """Reads the runs again: they may have changed while another mode was shown."""
        self._read_runs, self._wanted = {}, ()

    def redraw(self) -> None:
        wanted = self.console_app.experiments.compared_run_ids
        if wanted != self._wanted:
            self._wanted = wanted
            reading = "reading the compared runs"
            self.console_app.in_background(reading, self._read(wanted), owner=self, failed=self._show_error)
        tile = self.query_one("#compared", Tile)
        if not tile.text_size:
            return
        rows = self._rows(tile.text_size.width)
        self.top = max(0, min(self.top, len(rows) - tile.text_size.height))
        more = f"↑↓ {len(rows)} lines · " if len(rows) > tile.text_size.height else ""
        toggle = f"{self.view.key('compare_same')} {'hides' if self.equal_rows else 'shows'} equal rows"
        foot = f"{more}←→ choose a run · {toggle}"
        title = f"{len(wanted)} runs side by side" if wanted else "compare"
        tile.put(StyledText(rows[self.top : self.top + tile.text_size.height], title, foot if self.comparison else ""))

    def _rows(self, width: int) -> Lines:
        if self.error:
            return (line(), *wrap(f"✖ {self.error}", width - 2, "bad"))
        if not self._wanted:
            return _empty(self.view)
        if self.comparison is None:
            return (line(), line(Span(" reading the runs…", "muted")))
        words = self.view.registry.with_keys("⚠ only one run: {mode_runs}, then {run_mark} on another run adds it")
        hint = (line(Span(words, "warn")),) if len(self.comparison.runs) == 1 else ()
        return (*hint, *comparison.table(self.comparison, width, self.cursor, equal_rows=self.equal_rows))

    async def _read(self, wanted: tuple[str, ...]) -> None:
        try:
            for run_id in wanted:
                if run_id not in self._read_runs:
                    self._read_runs[run_id] = await self.console_app.experiments_port.runs.run(run_id)
            runs = [self._read_runs[run_id] for run_id in wanted]
            compared = await asyncio.to_thread(side_by_side, runs) if runs else None
            error = ""
        except CommandRefused as refusal:
            compared, error = None, str(refusal)
        if wanted == self._wanted:  # else a later call reads other runs
            self.comparison, self.error = compared, error
            self.action_move(0)

    def _show_error(self, error: str) -> None:
        self.comparison, self.error = None, error
        self.redraw()

    @property
    def selected(self) -> str:
        """The id of the run under the cursor; empty if there is none."""
        return self._wanted[self.cursor] if self.cursor < len(self._wanted) else ""

    def action_move(self, columns: int) -> None:
        """Moves the cursor to another run."""
        self.cursor = max(0, min(len(self._wanted) - 1, self.cursor + columns))
        self.console_app.update_context(selected_compared_run_id=self.selected)
        self.redraw()

    def action_scroll_by(self, rows: int) -> None:
        """Scrolls the table."""
        self.top = max(0, self.top + rows)
        self.redraw()

    def export_rows(self) -> list[dict[str, Any]]:
        """One row for each run, with its ratios."""
        return of_comparison(self.comparison) if self.comparison is not None else []

    def toggle_equal_rows(self) -> None:
        """Shows or hides settings that are equal in all runs."""
        self.equal_rows = not self.equal_rows
        self.redraw()


def _empty(view: View) -> Lines:
    return (
        line(),
        line(Span(" No runs to compare yet.", "strong")),
        line(),
        line(
            *(Span(f" {view.key('mode_runs')} ", "key", "mode_runs"), Span("lists the runs; ")),
            *(Span(f"{view.key('run_mark')} ", "key"), Span("marks two to four")),
        ),
        line(
            Span(f" {view.key('run_compare')} ", "key"),
            Span("compares them; the run that was marked first is the baseline"),
        ),
    )
