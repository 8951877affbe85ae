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
    """Which runs: the app knows (they are marked in Runs). What they are: read again when those have changed."""

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
        self.found: SideBySide | None = None
        self.trouble = ""
        self.cursor = 0
        self.top = 0
        self.equal_rows = False
        self._known: dict[str, OpenedRun] = {}
        self._wanted: tuple[str, ...] = ()

    def body(self) -> ComposeResult:
        with Container(id="body"):
            yield Tile(blank, id="compared", classes="panel")

    def on_screen_resume(self) -> None:
        """Notes, tags or the runs themselves may have changed."""
        self._known, self._wanted = {}, ()

    def redraw(self) -> None:
        wanted = self.console_app.experiments.compared_run_ids
        if wanted != self._wanted:
            self._wanted = wanted
            reading = "reading the compared runs"
            self.console_app.in_background(reading, self._read(wanted), owner=self, failed=self._not_read)
        tile = self.query_one("#compared", Tile)
        if not tile.text_size:
            return
        rows = self._rows(tile.text_size.width)
        self.top = max(0, min(self.top, len(rows) - tile.text_size.height))
        more = f"↑↓ {len(rows)} lines · " if len(rows) > tile.text_size.height else ""
        turn = f"{self.view.key('compare_same')} {'hides' if self.equal_rows else 'shows'} what is equal"
        foot = f"{more}←→ choose a run · {turn}"
        title = f"{len(wanted)} runs side by side" if wanted else "compare"
        tile.put(StyledText(rows[self.top : self.top + tile.text_size.height], title, foot if self.found else ""))

    def _rows(self, width: int) -> Lines:
        if self.trouble:
            return (line(), *wrap(f"✖ {self.trouble}", width - 2, "bad"))
        if not self._wanted:
            return _nothing(self.view)
        if self.found is None:
            return (line(), line(Span(" reading the runs …", "muted")))
        one = len(self.found.runs) == 1
        one_alone = self.view.registry.with_keys(
            "⚠ one run alone: {mode_runs}, then {run_mark} on another one, compares them"
        )
        hint = (line(Span(one_alone, "warn")),) if one else ()
        return (*hint, *comparison.compared(self.found, width, self.cursor, equal_rows=self.equal_rows))

    async def _read(self, wanted: tuple[str, ...]) -> None:
        try:
            for run_id in wanted:
                if run_id not in self._known:
                    self._known[run_id] = await self.console_app.experiments_port.runs.run(run_id)
            runs = [self._known[run_id] for run_id in wanted]
            found = await asyncio.to_thread(side_by_side, runs) if runs else None
            trouble = ""
        except CommandRefused as refusal:
            found, trouble = None, str(refusal)
        if wanted == self._wanted:  # else a newer question is on its way
            self.found, self.trouble = found, trouble
            self.action_move(0)

    def _not_read(self, why: str) -> None:
        self.found, self.trouble = None, why
        self.redraw()

    @property
    def here(self) -> str:
        """The run under the cursor."""
        return self._wanted[self.cursor] if self.cursor < len(self._wanted) else ""

    def action_move(self, columns: int) -> None:
        """To another run."""
        self.cursor = max(0, min(len(self._wanted) - 1, self.cursor + columns))
        self.console_app.update_context(selected_compared_run_id=self.here)
        self.redraw()

    def action_scroll_by(self, rows: int) -> None:
        """Through what is higher than the screen."""
        self.top = max(0, self.top + rows)
        self.redraw()

    def exported(self) -> list[dict[str, Any]]:
        """The runs with their ratios."""
        return of_comparison(self.found) if self.found is not None else []

    def toggle_equal_rows(self) -> None:
        """Shows settings that all runs share, or hides them."""
        self.equal_rows = not self.equal_rows
        self.redraw()


def _nothing(view: View) -> Lines:
    return (
        line(),
        line(Span(" Nothing is compared yet.", "strong")),
        line(),
        line(
            *(Span(f" {view.key('mode_runs')} ", "key", "mode_runs"), Span("lists the runs; ")),
            *(Span(f"{view.key('run_mark')} ", "key"), Span("marks two to four")),
        ),
        line(
            Span(f" {view.key('run_compare')} ", "key"),
            Span("there comes back here; the run marked first is the baseline"),
        ),
    )
