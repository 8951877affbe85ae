"""The capability matrix: backends by precisions, one glyph a cell, with its legend and the reason of one cell."""

from textual.geometry import Size

from console.model.engine import CapabilityCell, CellState, Deployment
from console.model.frame import Frame
from console.tui.styled_text import Line, Span, StyledText, clean, clip, line, wrap
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
    CellState.NATIVE: "ok",
    CellState.SLOW: "slow",
    CellState.FALLS_BACK: "falls back",
    CellState.UNAVAILABLE: "unavailable",
    CellState.UNKNOWN: "unknown: this console does not know what the engine says of it",
}
NAME_WIDTH = 10


class Grid:
    """The cells by row (backend) and column (precision), in the order in which the engine listed them."""

    def __init__(self, cells: tuple[CapabilityCell, ...], device: str = "") -> None:
        mine = [cell for cell in cells if not device or cell.device == device] or list(cells)
        self.backends = tuple(dict.fromkeys(cell.backend for cell in mine))
        self.precisions = tuple(dict.fromkeys(cell.precision for cell in mine))
        self._cells: dict[tuple[str, str], list[CapabilityCell]] = {}
        for cell in mine:
            self._cells.setdefault((cell.backend, cell.precision), []).append(cell)

    def recipes(self, backend: str, precision: str) -> list[CapabilityCell]:
        """The ways to reach a precision, the default one first. Empty: the engine does not list the cell."""
        return self._cells.get((backend, precision), [])

    def cell(self, backend: str, precision: str) -> CapabilityCell | None:
        """The default way to a precision."""
        recipes = self.recipes(backend, precision)
        return next((cell for cell in recipes if not cell.recipe), recipes[0] if recipes else None)


def column_width(width: int, columns: int) -> int:
    """Cells a column gets."""
    return max(4, min(8, (width - NAME_WIDTH) // max(1, columns)))


def glyph(cell: CapabilityCell | None, live: Deployment) -> tuple[str, str]:
    """The cell's glyph and role; the deployment that runs has its own."""
    if cell is None:
        return GLYPHS[CellState.UNAVAILABLE]
    if (cell.backend, cell.precision) == (live.backend, live.precision):
        return ACTIVE
    return GLYPHS[cell.state]


def head(grid: Grid, column: int) -> Line:
    """The precisions."""
    return line(Span(" " * NAME_WIDTH), *(Span(clean(name).center(column), "label") for name in grid.precisions))


LEGEND = (("◉", "accent", "active"), ("●", "good", "ok"), ("○", "warn", "slow"), ("✕", "bad", "falls back"))
LEGEND_LAST = ("–", "muted", "unavailable")


def legend(width: int) -> list[Line]:
    """What the glyphs mean, in one line or two."""
    first = [span for mark, role, word in LEGEND for span in (Span(mark, role), Span(f" {word}  ", "muted"))]
    mark, role, word = LEGEND_LAST
    last = [Span(mark, role), Span(f" {word}", "muted")]
    if width >= 56:
        return [line(*first, *last)]
    return [line(*first), line(*last)]


def explain(cell: CapabilityCell | None, live: Deployment, width: int, limit: int) -> list[Line]:
    """The state of one cell in words: what would run, why, and what to do about it."""
    if cell is None:
        return [line(Span("the engine does not list this cell", "muted"))]
    mark, role = glyph(cell, live)
    name = Deployment(cell.backend, cell.precision).cell
    words = "active: this is what runs now" if mark == ACTIVE[0] else WORDS[cell.state]
    if cell.state is CellState.FALLS_BACK and cell.effective.cell:
        words += f" to {cell.effective.cell}"
    rows = [line(Span(f"{mark} ", role), Span(f"{clean(name)} ", "strong"), Span(clean(words), role))]
    if cell.reason:
        rows += wrap(cell.reason, width)
    if cell.fix:
        rows += wrap(f"→ {cell.fix}", width, "label")
    return [clip(row, width) for row in rows[:limit]]


def matrix(frame: Frame, _view: View, size: Size) -> StyledText:
    """The matrix as a panel: a click on a cell opens the dialog."""
    title = "capability matrix"
    if not frame.capabilities:
        return StyledText((line(Span("not known yet: the engine tells when it serves", "muted")),), title)
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
    asked = frame.engine.requested
    shown = grid.cell(asked.backend, asked.precision)
    if shown and shown.reason and size.height - len(rows) >= 3:
        rows += [line(), *explain(shown, live, size.width, size.height - len(rows) - 1)]
    return StyledText(tuple(clip(row, size.width) for row in rows[: size.height]), title)
