"""Plain-text tables and numbers."""

from collections.abc import Sequence

from console.model.verdicts import MARKS as MARKS


def table(head: Sequence[str], lines: Sequence[Sequence[str]], right: set[str]) -> str:
    """Returns a table with columns as wide as their content. Columns named in `right` are right-aligned."""
    widths = [max(len(line[index]) for line in (head, *lines)) for index in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(head, cells, widths, strict=True)
        ).rstrip()

    return "\n".join([line(head), *(line(cells) for cells in lines)])


def figure(value: float | None, form: str, stable: float | None) -> str:
    """The value in the format `form`: a dash for None, with ` ~` after a figure that was not steady."""
    if value is None:
        return "–"
    return f"{value:{form}}" + ("" if stable or stable is None else " ~")
