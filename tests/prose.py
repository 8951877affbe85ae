"""Private terms in what people read: `python -m tests.prose [--root FOLDER] [--count]`.

It reads documents, and of Python files the docstrings, comments and string literals, but no identifiers. The list is
docs/terms.toml. Exit code 1 where a term is found.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = "docs/terms.toml"


@dataclass(frozen=True, slots=True)
class Term:
    """An entry of the list. `only` and `allowed` are globs of paths from the root."""

    pattern: str
    write: str
    only: Sequence[str] = ()
    allowed: Sequence[str] = ()
    words: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        words = self.pattern.replace(" ", r"\s+")
        object.__setattr__(self, "words", re.compile(rf"\b(?:{words})\b", re.IGNORECASE))

    def applies(self, path: str) -> bool:
        """Whether the entry is meant for that file."""
        return (not self.only or _matches(path, self.only)) and not _matches(path, self.allowed)


@dataclass(frozen=True, slots=True)
class Passage:
    """Words that belong together. `line` is that of their first character."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """A term in a file."""

    path: str
    line: int
    words: str
    term: Term

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.words!r}: write {self.term.write}"


@dataclass(frozen=True, slots=True)
class TermList:
    """The list and the files that it is for."""

    terms: Sequence[Term]
    python: Sequence[str]
    markdown: Sequence[str]
    exclude: Sequence[str]


def read_list(path: Path) -> TermList:
    """Raises OSError, ValueError, KeyError or TypeError for a list that cannot be used."""
    document = tomllib.loads(path.read_text("utf-8"))
    scan = document["scan"]
    return TermList([Term(**entry) for entry in document["term"]], scan["python"], scan["markdown"], scan["exclude"])


def passages_of_python(source: str) -> Iterator[Passage]:
    """Docstrings and other strings (of f-strings the text alone), and comments; comments of adjacent lines are one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Passage(node.lineno, node.value)
    pending: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if pending and line != pending[-1][0] + 1:
            yield _joined(pending)
            pending = []
        pending.append((line, token.string.lstrip("#")))
    if pending:
        yield _joined(pending)


def _joined(comments: Sequence[tuple[int, str]]) -> Passage:
    return Passage(comments[0][0], "\n".join(text for _, text in comments))


def found_in(passage: Passage, path: str, terms: Sequence[Term]) -> Iterator[Found]:
    """Each term of the passage with its line. In a string written in several parts it is that of the first part."""
    for term in terms:
        for match in term.words.finditer(passage.text):
            line = passage.line + passage.text.count("\n", 0, match.start())
            yield Found(path, line, " ".join(match[0].split()), term)


def scan(root: Path, wanted: TermList) -> list[Found]:
    """All terms in the files of the list, in the order of files and lines."""
    found: list[Found] = []
    for file in _files(root, wanted):
        path = file.relative_to(root).as_posix()
        terms = [term for term in wanted.terms if term.applies(path)]
        text = file.read_text("utf-8")
        passages = [Passage(1, text)] if file.suffix == ".md" else passages_of_python(text)
        found += sorted(
            (one for passage in passages for one in found_in(passage, path, terms)), key=lambda one: one.line
        )
    return found


def _files(root: Path, wanted: TermList) -> Iterator[Path]:
    python = (path for folder in wanted.python for path in sorted((root / folder).rglob("*.py")))
    markdown = (path for pattern in wanted.markdown for path in sorted(root.glob(pattern)))
    for path in (*python, *markdown):
        if not _matches(path.relative_to(root).as_posix(), wanted.exclude):
            yield path


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)


def counts(found: Sequence[Found]) -> str:
    """A row a term and package, the most frequent terms first."""
    by_term = Counter(one.term.pattern for one in found)
    rows = [f"{len(found):>5}  in all"]
    for pattern, total in by_term.most_common():
        packages = Counter(_package(one.path) for one in found if one.term.pattern == pattern)
        rows.append(f"{total:>5}  {pattern}: " + ", ".join(f"{name} {count}" for name, count in packages.most_common()))
    return "\n".join(rows)


def _package(path: str) -> str:
    parts = path.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else path


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1 where a term is found."""
    parser = argparse.ArgumentParser(prog="python -m tests.prose", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT, metavar="FOLDER", help="the tree to read")
    parser.add_argument("--count", action="store_true", help="totals by term and package instead of places")
    asked = parser.parse_args(arguments)
    found = scan(asked.root.resolve(), read_list(ROOT / LIST))
    print(counts(found) if asked.count else "\n".join(map(str, found)), file=sys.stdout)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
