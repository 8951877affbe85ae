"""A report as one self-contained HTML file: inline charts, light and dark, no scripts, at most three printed pages."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import count

from console.report.blocks import (
    Block,
    Bullets,
    Commands,
    Document,
    Facts,
    Headline,
    Section,
    Table,
    Terms,
    Text,
)
from console.report.charts import Bars, Dots, Lines, Spans, Stack
from console.report.render.style import STYLE
from console.report.render.svg import draw

_KINDS = {"✓": "good", "~": "unsure", "✕": "bad"}
_SHORT = 20
"""Characters up to which a status stays on one line."""
_LONG = 60
"""Characters from which a value has the whole width."""
_MANY, _TOO_MANY = 10, 13
"""Columns beyond which a table is set closer, and beyond which the ids of runs take two lines."""
_RUN_ID = re.compile(r"(?<![\w-])r-[\w-]*\w")


def as_html(document: Document) -> str:
    """Returns the content of the file."""
    page = _Page(count(1), _run_ids(document))
    links = " ".join(f'<a href="#{_anchor(one.title)}">{escape(_short(one.title))}</a>' for one in document.sections)
    intro = "".join(page.block(block) for block in document.intro)
    body = "".join(page.section(section) for section in document.sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(document.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(document.title)}</h1>\n{_headline(document.headline)}"
        f'<p class="lead">{escape(document.lead)}</p>\n{intro}<nav>{links}</nav>\n'
        f"{body}</main>\n</body>\n</html>\n"
    )


def _run_ids(document: Document) -> frozenset[str]:
    """The runs that have a row on the page."""
    tables = [block for section in document.sections for block in section.blocks if isinstance(block, Table)]
    return frozenset(run_id for table in tables for row in table.runs for run_id in row)


def _headline(headline: Headline) -> str:
    kind = _KINDS.get(headline.confidence[:1], "")
    return (
        f'<div class="answer {kind}">\n<p class="sentence">{escape(headline.sentence)}</p>\n'
        f'<p><span class="number">{escape(headline.number)}</span> {escape(headline.about)}.'
        f' <span class="{kind}">{escape(headline.confidence)}</span></p>\n</div>\n'
    )


@dataclass(frozen=True, slots=True)
class _Page:
    """What the blocks of one page share: the numbers of charts, and the runs that can be linked to."""

    numbers: Iterator[int]
    runs: frozenset[str]

    def section(self, section: Section) -> str:
        inner = "".join(map(self.block, section.blocks))
        title = f'<h2 id="{_anchor(section.title)}">{escape(section.title)}</h2>'
        return f"<section>\n{title}\n{inner}</section>\n"

    def block(self, block: Block) -> str:
        match block:
            case Text(text):
                return f'<p class="{_KINDS.get(text[:1], "note") if text[1:2] == " " else "note"}">{_prose(text)}</p>\n'
            case Bullets(items):
                return "<ul>" + "".join(f"<li>{_prose(item)}</li>" for item in items) + "</ul>\n"
            case Terms(items):
                terms = " ".join(f"<span><b>{escape(term)}:</b> {_prose(meaning)}</span>" for term, meaning in items)
                return f'<p class="note">{terms}</p>\n'
            case Facts(items):
                return f'<dl class="facts">{_definitions(items, _prose)}</dl>\n'
            case Commands(lines):
                return f'<dl class="commands">{_definitions(lines, _command)}</dl>\n'
            case Table():
                return self.table(block)
            case Bars() | Spans() | Lines() | Dots() | Stack():
                drawn = draw(block, next(self.numbers))
                return f"<figure><figcaption>{escape(block.title)}</figcaption>{drawn}</figure>\n"

    def table(self, table: Table) -> str:
        right = [name in table.right for name in table.head]
        head = "".join(
            f'<th scope="col"{_figure(is_right)}>{escape(name)}</th>'
            for name, is_right in zip(table.head, right, strict=True)
        )
        rows = "".join(
            f"<tr>{''.join(self.cell(text, is_right, ids) for text, is_right in zip(row, right, strict=True))}</tr>"
            for row, ids in zip(table.rows, table.runs or ((),) * len(table.rows), strict=True)
        )
        count = len(table.head)
        kind = ' class="dense wrapped"' if count > _TOO_MANY else ' class="dense"' if count > _MANY else ""
        return f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>\n'

    def cell(self, text: str, right: bool, ids: Sequence[str]) -> str:
        """A cell of the table. The cell that names a run of its own row is the target of links to all of them."""
        kind = _KINDS.get(text[:1], "") if text[1:2] == " " else ""
        if ids and ids[-1] in text:
            targets = "".join(f'<a id="{escape(run_id)}"></a>' for run_id in ids)
            return f'<td class="run">{targets}{escape(text)}</td>'
        inner = self.linked(escape(text))
        if kind:
            return f'<td class="{kind}{" short" if len(text) <= _SHORT else ""}">{inner}</td>'
        return f'<td class="run">{inner}</td>' if text in self.runs else f"<td{_figure(right)}>{inner}</td>"

    def linked(self, text: str) -> str:
        """Makes each run that has a row on the page a link to it."""
        return _RUN_ID.sub(lambda one: f'<a href="#{one[0]}">{one[0]}</a>' if one[0] in self.runs else one[0], text)


def _definitions(items: Sequence[tuple[str, str]], value: Callable[[str], str]) -> str:
    long = [' class="long"' if len(text) > _LONG else "" for _, text in items]
    return "".join(
        f"<div{kind}><dt>{escape(name)}</dt><dd>{value(text)}</dd></div>"
        for kind, (name, text) in zip(long, items, strict=True)
    )


def _command(line: str) -> str:
    """The command line, which breaks between its words and not at the hyphens of an option."""
    return f"<code>{' '.join(f'<span>{escape(word)}</span>' for word in line.split(' '))}</code>"


def _prose(text: str) -> str:
    """Escapes the text and renders words between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _figure(right: bool) -> str:
    return ' class="figure"' if right else ""


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _short(title: str) -> str:
    """The topic of a heading, for the list of links: without the load and what follows."""
    return re.split(r" at |: | \(| and ", title)[0]
