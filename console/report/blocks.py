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
class Terms:
    """Definitions, each a pair of (term, sentence)."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Short values by name, each a pair of (name, value)."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `right` names the columns that hold figures. Text that begins with a mark (✓ ~ ✕) is a status."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()
    runs: tuple[tuple[str, ...], ...] = ()
    """For each row the ids of the runs that it holds, which other places of the page link to; empty without links."""


@dataclass(frozen=True, slots=True)
class Commands:
    """Command lines, each a pair of (description, command)."""

    lines: tuple[tuple[str, str], ...]


Block = Text | Bullets | Terms | Facts | Table | Commands | Chart


@dataclass(frozen=True, slots=True)
class Headline:
    """The answer of the report. `confidence` begins with a mark (✓ ~ ✕)."""

    sentence: str
    number: str
    about: str
    confidence: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its blocks."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A report: title, answer, what was measured, the blocks that explain both, and sections."""

    title: str
    headline: Headline
    lead: str
    intro: tuple[Block, ...]
    sections: tuple[Section, ...]
