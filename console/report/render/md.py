"""A report as Markdown. Charts are left out: the tables hold the same figures."""

from console.report.blocks import Block, Bullets, Commands, Document, Facts, Headline, Table, Terms, Text


def as_markdown(document: Document) -> str:
    """Returns the content of the file."""
    parts = [f"# {document.title}", *_headline(document.headline), document.lead]
    parts += [shown for block in document.intro if (shown := _block(block))]
    for section in document.sections:
        parts.append(f"## {section.title}")
        parts += [shown for block in section.blocks if (shown := _block(block))]
    return "\n\n".join(parts) + "\n"


def _headline(headline: Headline) -> tuple[str, str]:
    sentence = f"**{_escaped(headline.sentence)}**"
    return sentence, _escaped(f"{headline.number} {headline.about}. {headline.confidence}")


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return _escaped(text)
        case Bullets(items):
            return "\n".join(f"- {_escaped(item)}" for item in items)
        case Terms(items):
            return "\n".join(f"- {_escaped(f'{term}: {meaning}')}" for term, meaning in items)
        case Facts(items):
            return _table(Table(("Fact", "Value"), items))
        case Table():
            return _table(block)
        case Commands(lines):
            return "\n\n".join(f"{_escaped(what)}:\n\n    {line}" for what, line in lines)
        case _:
            return ""


def _table(table: Table) -> str:
    rules = ["---:" if name in table.right else "---" for name in table.head]
    rows = [table.head, tuple(rules), *(tuple(map(_cell, row)) for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|").replace("\n", " ")


def _escaped(text: str) -> str:
    """Escapes the characters of Markdown's syntax, which names of recipes and reasons may contain."""
    for mark in ("\\", "*", "_", "<"):
        text = text.replace(mark, f"\\{mark}")
    return "\\" + text if text.startswith("~") else text
