"""What sections of a report are made of: text, tables, commands, charts. Renderers give them their form."""

from dataclasses import dataclass

from console.report.charts import Chart


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """Sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """`right` columns hold figures. A cell that begins with a mark (✓ ~ ✕) is a status."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Commands:
    """Command lines, each with what it does."""

    lines: tuple[tuple[str, str], ...]


Block = Text | Bullets | Table | Commands | Chart


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks below a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]
