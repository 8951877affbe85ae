"""Which rows of a long list are on the screen: the cursor stays in sight, and only what is seen is ever drawn."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ListWindow:
    """A cursor in `total` rows, of which `height` are seen from `top` on."""

    total: int = 0
    height: int = 1
    cursor: int = 0
    top: int = 0

    def fitted(self, total: int, height: int) -> "ListWindow":
        """The same place in a list or a window that has changed."""
        height = max(1, height)
        cursor = max(0, min(self.cursor, total - 1))
        top = max(0, min(self.top, total - height, cursor))
        return ListWindow(total, height, cursor, max(top, cursor - height + 1))

    def moved(self, rows: int) -> "ListWindow":
        """The cursor so many rows further; the edges hold."""
        return self.at(self.cursor + rows)

    def at(self, row: int) -> "ListWindow":
        """The cursor on that row."""
        return replace(self, cursor=row).fitted(self.total, self.height)

    @property
    def seen(self) -> range:
        """The rows on the screen."""
        return range(self.top, min(self.top + self.height, self.total))
