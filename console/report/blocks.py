"""The blocks of a report's sections: text, tables, commands and charts. Renderers format them."""

from dataclasses import dataclass

from console.report.charts import Chart


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `right` names the columns that hold figures. Text that begins with a mark (✓ ~ ✕) is a status."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Commands:
    """Command lines, each a pair of (description, command)."""

    lines: tuple[tuple[str, str], ...]


Block = Text | Bullets | Table | Commands | Chart


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its blocks."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A report: title, first paragraph and sections."""

    title: str
    lead: str
    sections: tuple[Section, ...]
