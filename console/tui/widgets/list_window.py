"""The visible part of a long list. The cursor is always inside it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ListWindow:
    """A cursor in `total` rows, of which `height` are visible from `top` on."""

    total: int = 0
    height: int = 1
    cursor: int = 0
    top: int = 0

    def fitted(self, total: int, height: int) -> "ListWindow":
        """The same position after the number of rows or the height has changed."""
        height = max(1, height)
        cursor = max(0, min(self.cursor, total - 1))
        top = max(0, min(self.top, total - height, cursor))
        return ListWindow(total, height, cursor, max(top, cursor - height + 1))

    def moved(self, rows: int) -> "ListWindow":
        """The cursor moved by `rows`, at most to the first or last row."""
        return self.at(self.cursor + rows)

    def at(self, row: int) -> "ListWindow":
        """The cursor on that row, at most the first or last one."""
        return replace(self, cursor=row).fitted(self.total, self.height)

    @property
    def visible(self) -> range:
        """The indices of the visible rows."""
        return range(self.top, min(self.top + self.height, self.total))
