"""Corpora of the load generator: generated from a seed, or read from a file with one text a line.

Generated texts resemble sentences and differ from one another, because one repeated sentence would show neither the
cost of tokenization nor that of batching. The same name and seed always give the same texts.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from console.load.vocabulary import CONNECTIVES, DOMAINS, OPENERS, PEOPLE, PREPOSITIONS, QUERY_OPENERS, Domain

MAX_TEXT_BYTES = 1 << 20
MAX_FILE_BYTES = 256 << 20


class CorpusError(Exception):
    """A corpus cannot be used. The message has the reason and the next step, and never contains text of the corpus."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts in the order in which they are sent, repeatedly."""

    name: str
    texts: tuple[str, ...]


def load_corpus(name: str, seed: int = 0, max_text_bytes: int = MAX_TEXT_BYTES) -> Corpus:
    """Returns a generated corpus (`short`, `mixed`, `long`), or the corpus in the file of that path.

    Raises CorpusError.
    """
    generator = _GENERATED.get(name)
    if generator is not None:
        make, count = generator
        rng = random.Random(f"{name}:{seed}")  # noqa: S311 - text to send, not a secret
        return Corpus(name, tuple(make(rng) for _ in range(count)))
    return Corpus(name, tuple(_read_lines(Path(name).expanduser(), max_text_bytes)))


def _read_lines(path: Path, max_text_bytes: int) -> Iterator[str]:
    if not path.exists():
        names = ", ".join(_GENERATED)
        raise CorpusError(f"no corpus {str(path)!r}: it is not one of {names}, and no such file exists")
    try:
        if path.is_dir():
            raise CorpusError(f"{path} is a folder: give a text file with one text a line")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CorpusError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB: give a sample of it")
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CorpusError(f"cannot read {path}: {reason}; check the path and its permissions") from error
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path} is not UTF-8: bad byte at offset {error.start}, line {line}; convert it, e.g. with iconv -t utf-8"
        ) from error
    kept = 0
    for number, line_text in enumerate(lines, start=1):
        text = line_text.strip()
        if not text:
            continue
        size_bytes = len(text.encode())
        if size_bytes > max_text_bytes:
            raise CorpusError(
                f"{path}, line {number}: {size_bytes:,} bytes, over the limit of {max_text_bytes:,} bytes a text;"
                " split or remove that line"
            )
        kept += 1
        yield text
    if not kept:
        raise CorpusError(f"{path} has no text: give one text a line")


def _phrase(rng: random.Random, domain: Domain) -> str:
    return f"{rng.choice(domain.adjectives)} {rng.choice(domain.nouns)}"


def _query(rng: random.Random) -> str:
    """Returns a search query: 5 to 12 words, no full stop."""
    while True:
        domain = rng.choice(DOMAINS)
        form = rng.randrange(4)
        if form == 0:
            words = f"{rng.choice(QUERY_OPENERS)} {rng.choice(domain.verbs)} {_article(_phrase(rng, domain))}"
        elif form == 1:
            words = f"best {_phrase(rng, domain)} {rng.choice(PREPOSITIONS)} {rng.choice(domain.places)}"
        elif form == 2:
            words = f"{rng.choice(domain.verbs)} {rng.choice(domain.nouns)} or {_phrase(rng, rng.choice(DOMAINS))}"
        else:
            words = f"difference between {_phrase(rng, domain)} and {_phrase(rng, domain)}"
        if rng.random() < 0.6:
            words += f" {rng.choice(PREPOSITIONS)} {_article(rng.choice(domain.nouns))}"
        if rng.random() < 0.2:
            words += f" {rng.randint(2, 2030)}"
        if 5 <= len(words.split()) <= 12:
            return words


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _clause(rng: random.Random, domain: Domain) -> str:
    words = f"{rng.choice(PEOPLE)} {rng.choice(domain.verbs)} the {_phrase(rng, domain)}"
    if rng.random() < 0.5:
        words += f" {rng.choice(PREPOSITIONS)} {_article(_phrase(rng, domain))}"
    if rng.random() < 0.3:
        words += f" in the {rng.choice(domain.places)}"
    return words


def _sentence(rng: random.Random, domain: Domain) -> str:
    sentence = _clause(rng, domain)
    if rng.random() < 0.35:
        sentence = f"{rng.choice(OPENERS)}, {sentence}"
    if rng.random() < 0.4:
        sentence += f", {rng.choice(CONNECTIVES)} {_clause(rng, domain)}"
    if rng.random() < 0.1:
        sentence += f", {rng.randint(2, 900)} times out of a thousand"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _prose(rng: random.Random, words: int) -> str:
    domain = rng.choice(DOMAINS)
    text: list[str] = []
    while len(text) < words:
        text += _sentence(rng, domain if rng.random() < 0.8 else rng.choice(DOMAINS)).split()
    return " ".join(text[:words]).rstrip(",")


def _mixed(rng: random.Random) -> str:
    return _prose(rng, rng.randint(3, 60))


def _long(rng: random.Random) -> str:
    return _prose(rng, rng.randint(100, 250))


_GENERATED: dict[str, tuple[Callable[[random.Random], str], int]] = {
    "short": (_query, 4096),
    "mixed": (_mixed, 4096),
    "long": (_long, 1024),
}

GENERATED_CORPORA = tuple(_GENERATED)
