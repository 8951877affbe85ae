"""Plain-text tables and numbers."""

from collections.abc import Sequence

from console.store.read import UNFINISHED

MARKS = {"ok": "✓", "unstable": "~", "client_bound": "!", "failed": "✗", UNFINISHED: "…"}
"""One glyph a verdict; the word stands beside it wherever there is room."""


def table(head: Sequence[str], lines: Sequence[Sequence[str]], right: set[str]) -> str:
    """Columns as wide as they need; those in `right` end flush."""
    widths = [max(len(line[index]) for line in (head, *lines)) for index in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(head, cells, widths, strict=True)
        ).rstrip()

    return "\n".join([line(head), *(line(cells) for cells in lines)])


def figure(value: float | None, form: str, stable: float | None) -> str:
    """A dash where it cannot be stated, a ~ where it was not steady."""
    if value is None:
        return "–"
    return f"{value:{form}}" + ("" if stable or stable is None else " ~")
