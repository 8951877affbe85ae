"""Lines of text in named roles. Panels make them, a Tile draws them, a theme gives each role its colour."""

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size


class Span(NamedTuple):
    """Text in one role; `console.tui.widgets.styles` maps roles to styles.

    `action`: performed by a click on the text; an action id, or an action of the screen as `screen.choose(…)`.
    """

    text: str
    role: str = "value"
    action: str = ""


Line = tuple[Span, ...]
Lines = tuple[Line, ...]

BLANK: Line = ()


class StyledText(NamedTuple):
    """The content of a tile: its lines, and the title and subtitle of its border."""

    lines: Lines
    title: str = ""
    subtitle: str = ""


def clean(text: str) -> str:
    """Returns the text on one line, control characters replaced: text from outside must not control the terminal."""
    if text.isascii() and text.isprintable():
        return text
    spaced = " ".join(text.split())
    return "".join(char if unicodedata.category(char)[0] != "C" else "�" for char in spaced)


def line(*parts: Span | str) -> Line:
    """Returns a line made of spans and plain strings."""
    return tuple(Span(part) if isinstance(part, str) else part for part in parts)


def width_of(spans: Iterable[Span]) -> int:
    """Width of the line in terminal cells."""
    return sum(cell_len(span.text) for span in spans)


def clip(spans: Line, width: int) -> Line:
    """Returns the line cut to `width` cells. A cut line ends in an ellipsis."""
    if width_of(spans) <= width:
        return spans
    if width <= 0:
        return BLANK
    kept: list[Span] = []
    left = width - 1
    for span in spans:
        cells = cell_len(span.text)
        if cells > left:
            kept.append(span._replace(text=set_cell_size(span.text, left).rstrip() + "…"))
            break
        kept.append(span)
        left -= cells
    return tuple(kept)


def spread(left: Line, right: Line, width: int) -> Line:
    """Returns a line with `left` and `right` at its edges. Where both do not fit, `right` is dropped."""
    gap = width - width_of(left) - width_of(right)
    if gap < 1:
        return clip(left, width)
    return (*left, Span(" " * gap), *right)


def joined(parts: Iterable[Line], separator: Span) -> Line:
    """Returns one line made of the parts with a separator between them."""
    out: list[Span] = []
    for part in parts:
        if out:
            out.append(separator)
        out.extend(part)
    return tuple(out)


def wrap(text: str, width: int, role: str = "value", limit: int = 99) -> list[Line]:
    """Returns the text in at most `limit` lines of `width` cells, broken at spaces. A cut text ends in an ellipsis."""
    lines: list[str] = []
    current = ""
    for word in clean(text).split(" "):
        candidate = f"{current} {word}" if current else word
        if cell_len(candidate) <= width:
            current = candidate
            continue
        if current:
            lines.append(current)
        current = word
        while cell_len(current) > width > 0:
            lines.append(set_cell_size(current, width))
            current = current[len(lines[-1].rstrip()) :]
    if current:
        lines.append(current)
    if len(lines) > limit:
        lines = [*lines[: limit - 1], set_cell_size(lines[limit - 1], max(1, width - 1)).rstrip() + "…"]
    return [(Span(text, role),) for text in lines]


def plain(spans: Line) -> str:
    """Returns the text of the line without roles."""
    return "".join(span.text for span in spans)
