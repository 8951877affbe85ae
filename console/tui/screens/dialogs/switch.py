"""The Switch dialog: the capability matrix. It shows the effect of each cell before it is chosen."""

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType

from console.model.engine import CellState, Deployment
from console.model.frame import Frame
from console.tui.panels.live.matrix import NAME_WIDTH, Grid, column_width, explain, glyph, head, legend
from console.tui.screens.dialogs.dialog import Dialog
from console.tui.styled_text import Line, Lines, Span, clean, clip, line
from console.tui.view import View

REASON_LINES = 7
"""Rows below the matrix, so that the box does not change its height."""


@dataclass(frozen=True, slots=True)
class SwitchChoice:
    """The deployment to switch to; `strict`: refuse a fallback."""

    target: Deployment
    strict: bool


class SwitchDialog(Dialog[SwitchChoice]):
    """Arrows or hjkl move, Enter switches, x toggles strict, Tab changes the recipe."""

    HEADING = "switch backend and precision under load"
    WIDTH = 78
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(0, -1)", "Up", show=False),
        Binding("down,j", "move(0, 1)", "Down", show=False),
        Binding("left,h", "move(-1, 0)", "Left", show=False),
        Binding("right,l", "move(1, 0)", "Right", show=False),
        Binding("x", "strict", "Strict", show=False),
        Binding("tab", "recipe", "Recipe", show=False),
        Binding("enter", "choose_here", "Switch", show=False),
    ]

    def __init__(self, frame: Frame, view: View, *, by: str = "backend", strict: bool = False) -> None:
        """`by`: `backend` or `precision`, the action that opened the dialog. `strict`: its initial value."""
        super().__init__(frame, view)
        self.by = by
        self.strict = strict
        self._recipe = 0
        self._error = ""
        grid = self.grid
        live = frame.engine.requested
        self.row = grid.backends.index(live.backend) if live.backend in grid.backends else 0
        self.column = grid.precisions.index(live.precision) if live.precision in grid.precisions else 0

    @property
    def grid(self) -> Grid:
        """The cells of the device that is in use."""
        return Grid(self.frame.capabilities, self.frame.engine.effective.device)

    @property
    def selected(self) -> tuple[str, str]:
        """Backend and precision under the cursor."""
        grid = self.grid
        row = min(self.row, len(grid.backends) - 1)
        return grid.backends[row], grid.precisions[min(self.column, len(grid.precisions) - 1)]

    def keys(self) -> str:
        strict = "on" if self.strict else "off"
        return f"↑↓←→ move · enter switch · x strict: {strict} · esc cancel"

    def lines(self, width: int) -> Lines:
        grid, live = self.grid, self.frame.engine.effective
        column = column_width(width, len(grid.precisions))
        rows: list[Line] = [self._current(), line(), head(grid, column)]
        rows += [self._row(grid, backend, column) for backend in grid.backends]
        rows += [line(), *legend(width), line()]
        recipes = grid.recipes(*self.selected)
        cell = recipes[self._recipe % len(recipes)] if recipes else None
        reason = explain(cell, live, width, REASON_LINES)
        if len(recipes) > 1 and cell:
            names = " · ".join(clean(each.recipe) or "default" for each in recipes)
            recipe = Span(f"recipe {clean(cell.recipe) or 'default'}  (tab: {names})", "label")
            reason.append(line(recipe))
        if cell and (cell.texts_per_s or cell.fidelity):
            speed = f"{cell.texts_per_s:,.0f} texts/s" if cell.texts_per_s else ""
            cosine = f"cosine {cell.fidelity:.4f} to fp32" if cell.fidelity else ""
            measured = " · ".join(filter(None, (speed, cosine)))
            reason.append(line(Span(f"last measured here: {measured}", "label")))
        reason.append(self._consequence())
        rows += reason + [line()] * (REASON_LINES - len(reason))
        return tuple(clip(row, width) for row in rows)

    def _current(self) -> Line:
        engine = self.frame.engine
        effective, requested = engine.effective.cell or "nothing", engine.requested.cell
        differs = Span(f" (requested {clean(requested)})", "warn") if requested not in {"", effective} else Span("")
        return line(Span("now ", "label"), Span(clean(effective), "strong"), differs, Span(self._device(), "muted"))

    def _device(self) -> str:
        live = self.frame.engine.effective
        if not live.instances:
            return ""
        return f"  on {clean(live.device)}, {live.instances} × {live.threads} thread{'s' if live.threads > 1 else ''}"

    def _row(self, grid: Grid, backend: str, column: int) -> Line:
        live = self.frame.engine.effective
        selected = self.selected
        role = "strong" if backend == selected[0] else "value"
        spans = [Span(clean(backend)[: NAME_WIDTH - 1].ljust(NAME_WIDTH), role)]
        for x, precision in enumerate(grid.precisions):
            mark, mark_role = glyph(grid.cell(backend, precision), live)
            click = f"screen.choose_at({x}, {grid.backends.index(backend)})"
            if (backend, precision) == selected:
                spans.append(Span(f"[{mark}]".center(column), "cursor", click))
            else:
                spans.append(Span(mark.center(column), mark_role, click))
        return tuple(spans)

    def _consequence(self) -> Line:
        if self._error:
            return line(Span(self._error, "warn"))
        cell = self.grid.cell(*self.selected)
        if cell is None or cell.state is CellState.UNAVAILABLE:
            return line(Span("not available", "muted"))
        if self.strict and cell.state is CellState.FALLS_BACK:
            return line(Span("strict: the switch would be refused", "warn"))
        return line(Span("enter switches; the load keeps running", "muted"))

    def action_move(self, columns: int, rows: int) -> None:
        """Moves the cursor, at most to the edges of the matrix."""
        grid = self.grid
        self.column = max(0, min(len(grid.precisions) - 1, self.column + columns))
        self.row = max(0, min(len(grid.backends) - 1, self.row + rows))
        self._recipe, self._error = 0, ""
        self.redraw()

    def action_choose_at(self, column: int, row: int) -> None:
        """Moves the cursor to the clicked cell; a second click switches to it."""
        if (column, row) == (self.column, self.row):
            self.action_choose_here()
            return
        self.column, self.row, self._recipe, self._error = column, row, 0, ""
        self.redraw()

    def action_strict(self) -> None:
        """Toggles strict: a switch that would fall back is refused."""
        self.strict = not self.strict
        self.redraw()

    def action_recipe(self) -> None:
        """Selects the next recipe of this cell."""
        self._recipe += 1
        self.redraw()

    def action_choose_here(self) -> None:
        """Switches to the selected cell, unless it is unavailable."""
        recipes = self.grid.recipes(*self.selected)
        cell = recipes[self._recipe % len(recipes)] if recipes else None
        if cell is None or cell.state is CellState.UNAVAILABLE:
            self._error = "This cell is not available here: choose another one"
            self.redraw()
            return
        target = Deployment(cell.backend, cell.precision, cell.recipe)
        self.dismiss(SwitchChoice(target, self.strict))
