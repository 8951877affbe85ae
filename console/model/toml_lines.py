"""Where in a TOML file a key stands, for messages: the standard library's parser does not say."""

import re
from collections.abc import Sequence


def not_toml(error: str, source: str, lines: Sequence[str]) -> str:
    """The parser's sentence, its line in front as in all our errors, with the key that is assigned there."""
    found = re.search(r" \(at line (\d+), column \d+\)$", error)
    if found is None:
        return f"{source}: not TOML: {error}"
    number = int(found[1])
    key = re.match(r"\s*([\w.\"'-]+)\s*=", lines[number - 1] if number <= len(lines) else "")
    where = f"{source}, line {number}" + (f", {key[1]}" if key else "")
    why = "a key or table is there twice" if error.startswith(("Cannot overwrite", "Cannot declare")) else error
    return f"{where}: not TOML: {why.removesuffix(found[0])}"


def line_of(lines: Sequence[str], table: str, number: int, key: str) -> int:
    """The line (from 1) of a key in the `number`-th table of that name, or of the table itself; 0 if not found."""
    current, seen = "", -1
    for index, line in enumerate(lines, start=1):
        if header := re.match(r"\s*\[\[?\s*([\w.]+)\s*\]\]?", line):
            current = header[1]
            seen += current == table
            if not key and current == table and seen == number:
                return index
        elif (
            current == table
            and (not table or seen == number)
            and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line)
        ):
            return index
    return _line_of_other_form(lines, table, key)


def _line_of_other_form(lines: Sequence[str], table: str, key: str) -> int:
    """Of `table.key = …`, `[table.key]` or `table = { key = … }`; 0 if there is none of them."""
    if not table:
        return 0
    forms = (rf"\s*\[?\[?\s*{table}\s*\.\s*{re.escape(key)}\b", rf"\s*{table}\s*=.*\b{re.escape(key)}\s*=")
    return next((index for form in forms for index, line in enumerate(lines, 1) if re.match(form, line)), 0)
