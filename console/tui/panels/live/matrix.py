"""The capability matrix: backends by precisions, one glyph for each cell, a legend, and the reason of one cell."""

from textual.geometry import Size

from console.model.engine import CapabilityCell, CellState, Deployment
from console.model.frame import Frame
from console.tui.styled_text import Line, Span, StyledText, clean, clip, joined, line, width_of, wrap
from console.tui.view import View

GLYPHS = {
    CellState.NATIVE: ("●", "good"),
    CellState.SLOW: ("○", "warn"),
    CellState.FALLS_BACK: ("✕", "bad"),
    CellState.UNAVAILABLE: ("–", "muted"),
    CellState.UNKNOWN: ("?", "warn"),
}
ACTIVE = ("◉", "accent")
WORDS = {
    CellState.NATIVE: "native",
    CellState.SLOW: "slow",
    CellState.FALLS_BACK: "falls back",
    CellState.UNAVAILABLE: "unavailable",
    CellState.UNKNOWN: "unknown: the engine reports a state that this console does not know",
}
NAME_WIDTH = 10
"""Cells of the backend names."""


class Grid:
    """The cells by row (backend) and column (precision), in the order in which the engine lists them."""

    def __init__(self, cells: tuple[CapabilityCell, ...], device: str = "") -> None:
        selected = [cell for cell in cells if not device or cell.device == device] or list(cells)
        self.backends = tuple(dict.fromkeys(cell.backend for cell in selected))
        self.precisions = tuple(dict.fromkeys(cell.precision for cell in selected))
        self._cells: dict[tuple[str, str], list[CapabilityCell]] = {}
        for cell in selected:
            self._cells.setdefault((cell.backend, cell.precision), []).append(cell)

    def recipes(self, backend: str, precision: str) -> list[CapabilityCell]:
        """The recipes of a cell, the default one first. Empty if the engine does not list the cell."""
        return self._cells.get((backend, precision), [])

    def cell(self, backend: str, precision: str) -> CapabilityCell | None:
        """The cell with its default recipe; None if the engine does not list it."""
        recipes = self.recipes(backend, precision)
        return next((cell for cell in recipes if not cell.recipe), recipes[0] if recipes else None)


def column_width(width: int, columns: int) -> int:
    """Width of a column in terminal cells."""
    return max(4, min(8, (width - NAME_WIDTH) // max(1, columns)))


def glyph(cell: CapabilityCell | None, live: Deployment) -> tuple[str, str]:
    """Glyph and role of a cell. The running deployment has its own glyph."""
    if cell is None:
        return GLYPHS[CellState.UNAVAILABLE]
    if (cell.backend, cell.precision) == (live.backend, live.precision):
        return ACTIVE
    return GLYPHS[cell.state]


def head(grid: Grid, column: int) -> Line:
    """The header row: the precisions."""
    return line(Span(" " * NAME_WIDTH), *(Span(clean(name).center(column), "label") for name in grid.precisions))


LEGEND = (
    ("◉", "accent", "active"),
    ("●", "good", "native"),
    ("○", "warn", "slow"),
    ("✕", "bad", "falls back"),
    ("–", "muted", "unavailable"),
)
"""Glyph, role and meaning."""
LEGEND_GAP = Span("  ")


def legend(width: int) -> list[Line]:
    """The meaning of the glyphs, in as many lines as the width needs."""
    rows: list[list[Line]] = [[]]
    for mark, role, word in LEGEND:
        entry = line(Span(mark, role), Span(f" {word}", "muted"))
        if rows[-1] and width_of(joined([*rows[-1], entry], LEGEND_GAP)) > width:
            rows.append([])
        rows[-1].append(entry)
    return [joined(row, LEGEND_GAP) for row in rows]


def explain(cell: CapabilityCell | None, live: Deployment, width: int, limit: int) -> list[Line]:
    """The state of a cell in words: what would run, why, and the fix. At most `limit` lines."""
    if cell is None:
        return [line(Span("the engine does not list this cell", "muted"))]
    mark, role = glyph(cell, live)
    name = Deployment(cell.backend, cell.precision).cell
    words = "active: this deployment is running" if mark == ACTIVE[0] else WORDS[cell.state]
    if cell.state is CellState.FALLS_BACK and cell.effective.cell:
        words += f" to {cell.effective.cell}"
    rows = [line(Span(f"{mark} ", role), Span(f"{clean(name)} ", "strong"), Span(clean(words), role))]
    if cell.reason:
        rows += wrap(cell.reason, width)
    if cell.fix:
        rows += wrap(f"→ {cell.fix}", width, "label")
    return [clip(row, width) for row in rows[:limit]]


def matrix(frame: Frame, _view: View, size: Size) -> StyledText:
    """The matrix as a panel. A click on a cell opens the Switch dialog."""
    title = "capability matrix"
    if not frame.capabilities:
        return StyledText((line(Span("not known until the engine serves", "muted")),), title)
    live = frame.engine.effective
    grid = Grid(frame.capabilities, live.device)
    column = column_width(size.width, len(grid.precisions))
    rows = [head(grid, column)]
    for backend in grid.backends:
        spans = [Span(clean(backend)[: NAME_WIDTH - 1].ljust(NAME_WIDTH), "value", "backend")]
        for precision in grid.precisions:
            mark, role = glyph(grid.cell(backend, precision), live)
            spans.append(Span(mark.center(column), role, "backend"))
        rows.append(tuple(spans))
    rows += [line(), *legend(size.width)]
    requested = frame.engine.requested
    cell = grid.cell(requested.backend, requested.precision)
    if cell and cell.reason and size.height - len(rows) >= 3:
        rows += [line(), *explain(cell, live, size.width, size.height - len(rows) - 1)]
    return StyledText(tuple(clip(row, size.width) for row in rows[: size.height]), title)
