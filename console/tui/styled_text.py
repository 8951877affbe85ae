"""Ink: lines of text in named roles. Panels write it, a Tile draws it, a theme gives each role its colour."""

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size


class Span(NamedTuple):
    """Text in one role: what it is; widgets/inks.py says how that looks.

    With an `action` (an id from the registry, or `screen.choose(…)`) a click performs it.
    """

    text: str
    role: str = "value"
    action: str = ""


Line = tuple[Span, ...]
Lines = tuple[Line, ...]

BLANK: Line = ()


class StyledText(NamedTuple):
    """What a tile shows: its lines, and what its border says."""

    lines: Lines
    title: str = ""
    subtitle: str = ""


def clean(text: str) -> str:
    """The text on one line, without control characters: an error message or a path must not steer the terminal."""
    if text.isascii() and text.isprintable():
        return text
    spaced = " ".join(text.split())
    return "".join(char if unicodedata.category(char)[0] != "C" else "�" for char in spaced)


def line(*parts: Span | str) -> Line:
    """A line from spans and plain strings."""
    return tuple(Span(part) if isinstance(part, str) else part for part in parts)


def width_of(spans: Iterable[Span]) -> int:
    """Cells the line takes."""
    return sum(cell_len(span.text) for span in spans)


def clip(spans: Line, width: int) -> Line:
    """The line cut to `width` cells, with an ellipsis where something was lost."""
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
    """`left` at the left edge and `right` at the right one; where both do not fit, the right one goes."""
    gap = width - width_of(left) - width_of(right)
    if gap < 1:
        return clip(left, width)
    return (*left, Span(" " * gap), *right)


def joined(parts: Iterable[Line], separator: Span) -> Line:
    """The lines one after another with a separator between them."""
    out: list[Span] = []
    for part in parts:
        if out:
            out.append(separator)
        out.extend(part)
    return tuple(out)


def wrap(text: str, width: int, role: str = "value", limit: int = 99) -> list[Line]:
    """The text in lines of at most `width` cells, broken at spaces; after `limit` lines it ends in an ellipsis."""
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
    """The line's text alone."""
    return "".join(span.text for span in spans)
