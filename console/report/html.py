"""A report as one self-contained HTML file: inline styles and charts, light and dark, no scripts."""

import re
from collections.abc import Iterator
from html import escape
from itertools import count

from console.report.blocks import Block, Bullets, Commands, Document, Section, Table, Text
from console.report.charts import Bars, Dots, Lines, Spans, Stack
from console.report.svg import draw

_KINDS = {"✓": "good", "~": "unsure", "✕": "bad"}
STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2430;--soft:#5b6675;--rule:#dfe3e8;--band:#f6f7f9;
--good:#0b7a4b;--unsure:#8a5a00;--bad:#b3261e;--c0:#2166ac;--c1:#c8580a;--c2:#12805c;--c3:#a23b72;--c4:#6553c0;--c5:#7a6a00}
@media (prefers-color-scheme:dark){:root{--paper:#14181e;--ink:#e4e8ee;--soft:#9aa5b3;--rule:#2e3641;--band:#1b2028;
--good:#5ccf9b;--unsure:#e2b04a;--bad:#ff8a80;--c0:#6db3f2;--c1:#f4a259;--c2:#5ccfa6;--c3:#e58fbd;--c4:#b0a4f5;--c5:#d9c04c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 6px}
h2{font-size:19px;margin:44px 0 10px;padding-bottom:4px;border-bottom:1px solid var(--rule)}
p{margin:10px 0;max-width:78ch}
.lead,.note{color:var(--soft)}
nav{margin:14px 0 0;font-size:13px}nav a{color:var(--c0);margin-right:14px;white-space:nowrap}
ul{padding-left:20px;max-width:90ch}li{margin:4px 0}
.wide{overflow-x:auto;margin:12px 0}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--soft);border-bottom:1px solid var(--rule);padding:5px 12px 5px 0;
vertical-align:bottom}
td{border-bottom:1px solid var(--rule);padding:5px 12px 5px 0;vertical-align:top}
.figure{text-align:right;white-space:nowrap;padding-right:20px}
.good{color:var(--good)}.unsure{color:var(--unsure)}.bad{color:var(--bad)}
td.good,td.unsure,td.bad{min-width:9em;font-weight:600}
figure{margin:18px 0}figcaption{font-weight:600;margin-bottom:6px}
dl{margin:12px 0;font-size:13.5px}dt{color:var(--soft);margin-top:8px}dd{margin:2px 0}
code{font:12.5px/1.5 ui-monospace,"SF Mono",Consolas,monospace;background:var(--band);padding:2px 6px;border-radius:3px;
overflow-wrap:anywhere}
.chart{display:block;width:100%;max-width:860px;height:auto;font:12px system-ui,sans-serif}
.chart text{fill:var(--ink);paint-order:stroke;stroke:var(--paper);stroke-width:3px}.chart .tick{fill:var(--soft)}
.grid{stroke:var(--rule);stroke-width:1}.whisker{stroke:var(--ink);stroke-width:1.3}.span{stroke:var(--soft);stroke-width:2}
.c0{fill:var(--c0);stroke:var(--c0)}.c1{fill:var(--c1);stroke:var(--c1)}.c2{fill:var(--c2);stroke:var(--c2)}
.c3{fill:var(--c3);stroke:var(--c3)}.c4{fill:var(--c4);stroke:var(--c4)}.c5{fill:var(--c5);stroke:var(--c5)}
.line{fill:none;stroke-width:2}.front{fill:none;stroke:var(--c1);stroke-width:1.3;stroke-dasharray:4 4}
.neutral{fill:var(--soft);stroke:var(--soft)}.hollow{fill:var(--paper);stroke-width:1.8}
@media print{nav{display:none}h2{break-after:avoid}figure,tr{break-inside:avoid}}
"""


def as_html(document: Document) -> str:
    """Returns the content of the file."""
    numbers = count(1)
    links = " ".join(f'<a href="#{_anchor(one.title)}">{escape(_short(one.title))}</a>' for one in document.sections)
    body = "".join(_section(section, numbers) for section in document.sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(document.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(document.title)}</h1>\n<p class="lead">{escape(document.lead)}</p>\n<nav>{links}</nav>\n'
        f"{body}</main>\n</body>\n</html>\n"
    )


def _section(section: Section, numbers: Iterator[int]) -> str:
    inner = "".join(_block(block, numbers) for block in section.blocks)
    return f'<section>\n<h2 id="{_anchor(section.title)}">{escape(section.title)}</h2>\n{inner}</section>\n'


def _block(block: Block, numbers: Iterator[int]) -> str:
    match block:
        case Text(text):
            return f'<p class="{_KINDS.get(text[:1], "note")}">{_prose(text)}</p>\n'
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{_prose(item)}</li>" for item in items) + "</ul>\n"
        case Table():
            return _table(block)
        case Commands(lines):
            rows = "".join(f"<dt>{escape(what)}</dt><dd><code>{escape(line)}</code></dd>" for what, line in lines)
            return f"<dl>{rows}</dl>\n"
        case Bars() | Spans() | Lines() | Dots() | Stack():
            return f"<figure><figcaption>{escape(block.title)}</figcaption>{draw(block, next(numbers))}</figure>\n"


def _prose(text: str) -> str:
    """Escapes the text and renders words between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col"{_figure(name in table.right)}>{escape(name)}</th>' for name in table.head)
    rows = "".join(
        "<tr>" + "".join(map(_cell, row, (name in table.right for name in table.head))) + "</tr>" for row in table.rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>\n'


def _cell(text: str, right: bool) -> str:
    kind = _KINDS.get(text[:1], "") if text[1:2] == " " else ""
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td{_figure(right)}>{escape(text)}</td>"


def _figure(right: bool) -> str:
    return ' class="figure"' if right else ""


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _short(title: str) -> str:
    """The topic of a heading, for the list of links: without the load and what follows."""
    return re.split(r" at |: | \(| and ", title)[0]
