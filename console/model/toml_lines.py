"""Line numbers of keys in a TOML file, for error messages. The standard library's parser does not provide them."""

import re
from collections.abc import Sequence


def toml_error_message(error: str, source: str, lines: Sequence[str]) -> str:
    """Rewrites the parser's message as `FILE, line N, KEY: not TOML: …`, with the key that is assigned on that line."""
    position = re.search(r" \(at line (\d+), column \d+\)$", error)
    if position is None:
        return f"{source}: not TOML: {error}"
    number = int(position[1])
    key = re.match(r"\s*([\w.\"'-]+)\s*=", lines[number - 1] if number <= len(lines) else "")
    where = f"{source}, line {number}" + (f", {key[1]}" if key else "")
    why = "a key or table is defined twice" if error.startswith(("Cannot overwrite", "Cannot declare")) else error
    return f"{where}: not TOML: {why.removesuffix(position[0])}"


def line_of(lines: Sequence[str], table: str, number: int, key: str) -> int:
    """Returns the line (from 1) of `key` in the `number`-th table of that name; 0 if not found.

    An empty `key` stands for the table's header.
    """
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
    return _line_of_dotted_or_inline(lines, table, key)


def _line_of_dotted_or_inline(lines: Sequence[str], table: str, key: str) -> int:
    """Returns the line of `table.key = …`, `[table.key]` or `table = { key = … }`; 0 if not found."""
    if not table:
        return 0
    forms = (rf"\s*\[?\[?\s*{table}\s*\.\s*{re.escape(key)}\b", rf"\s*{table}\s*=.*\b{re.escape(key)}\s*=")
    return next((index for form in forms for index, line in enumerate(lines, 1) if re.match(form, line)), 0)
