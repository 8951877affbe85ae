"""Real prose to calibrate with, and other real prose to judge with, read from what every Python carries.

Calibration text decides a static int8 model's quality: generated words ruin it. The reference manual in the standard
library (`pydoc_data.topics`) is natural English, is on every machine offline, and needs no copy here. Its paragraphs
are dealt to calibrating or to judging by their hash, so that the two never share a sentence.
"""

import hashlib
import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engine.errors import InvalidRequest

CALIBRATING_TEXTS = 300
JUDGING_TEXTS = 576
FEWEST_TEXTS = 32
"""A file with fewer says too little about the ranges of activations."""
_LARGEST_FILE_BYTES = 64 << 20
_LONGEST_TEXT_CHARACTERS = 10_000
_STRATA_WORDS = ((2, 8), (9, 16), (17, 30), (31, 120))
"""Judging takes as many texts of each length, bounds included: headings, two kinds of sentences, whole paragraphs."""
_UNDERLINE = re.compile(r"\n[*=~^\"'+-]{3,}\s*$")
_MARKUP = re.compile(r"\*\*|[*\"“”`]|\[\d+\]|^\s*(?:[*•-]|\d+\.|Note:|Warning:|See also:)\s+", re.MULTILINE)
_CODE = re.compile(r"::=|>>>|->|[{}<>=|\\_@\[\]]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_WORD = re.compile(r"[A-Za-z][A-Za-z’'-]*[,;:.!?)]*|\([A-Za-z][A-Za-z’'-]*[,;:.)]*|[0-9]+[,;:.)]*|a|I")
_HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Calibration:
    """Texts that show a quantiser what activations look like, and the hash that an artifact made with them carries."""

    texts: tuple[str, ...]
    hash: str


def calibration_of(texts: Sequence[str]) -> Calibration:
    """`texts` with the hash of their content and order."""
    digest = hashlib.sha256("\x00".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    return Calibration(tuple(texts), digest[:_HASH_DIGITS])


@cache
def default_calibration() -> Calibration:
    """300 sentences of the reference manual; the same on every machine with the same Python."""
    sentences = {sentence for paragraph in _dealt(to_judging=False) for sentence in _sentences(paragraph)}
    return calibration_of(sorted(sentences, key=_deal)[:CALIBRATING_TEXTS])


def calibration_from(path: Path) -> Calibration:
    """The user's own texts, one a line, the first 300 of them in the order of their hashes.

    Raises InvalidRequest when the file cannot be read, is not UTF-8 text or has fewer than 32 different lines.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise InvalidRequest(f"{path} is larger than 64 MiB: calibration needs {CALIBRATING_TEXTS} texts, not all")
        text = path.read_text("utf-8")
    except OSError as error:
        raise InvalidRequest(f"the calibration file {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path} is not UTF-8 text: give a file with one text a line") from error
    lines = {line.strip()[:_LONGEST_TEXT_CHARACTERS] for line in text.splitlines() if line.strip()}
    if len(lines) < FEWEST_TEXTS:
        raise InvalidRequest(
            f"{path} has {len(lines)} different texts, one a line: calibration needs at least {FEWEST_TEXTS}, "
            f"better {CALIBRATING_TEXTS}, of the kind that will be served"
        )
    return calibration_of(sorted(lines, key=_deal)[:CALIBRATING_TEXTS])


@cache
def evaluation_texts() -> tuple[str, ...]:
    """576 headings, sentences and paragraphs, as many of each length, none of them in the default calibration."""
    seen = set(default_calibration().texts)
    strata: list[list[str]] = [[] for _ in _STRATA_WORDS]
    for text in sorted(set(_candidates()) - seen, key=_deal):
        words = text.count(" ") + 1
        for stratum, (fewest, most) in zip(strata, _STRATA_WORDS, strict=True):
            if fewest <= words <= most:
                stratum.append(text)
    # Where a length is rare (another Python's manual), the others fill up: the number of texts is what is promised.
    share = JUDGING_TEXTS // len(strata)
    chosen = [text for stratum in strata for text in stratum[:share]]
    spare = [text for stratum in strata for text in stratum[share:]]
    return tuple(chosen + spare[: JUDGING_TEXTS - len(chosen)])


def _candidates() -> Iterator[str]:
    """Sentences, the headings above them, and paragraphs that are all sentences."""
    calibrating = {sentence for paragraph in _dealt(to_judging=False) for sentence in _sentences(paragraph)}
    for paragraph in _dealt(to_judging=True):
        sentences = _sentences(paragraph)
        if len(sentences) > 1 and not calibrating.intersection(sentences):
            yield " ".join(sentences)
        yield from (sentence for sentence in sentences if sentence not in calibrating)
    yield from _headings()


def _dealt(*, to_judging: bool) -> Iterator[str]:
    """This half of the manual's paragraphs, without markup."""
    for paragraph in _paragraphs():
        if (int(_deal(paragraph)[:2], 16) % 2 == 1) is to_judging:
            yield paragraph


def _paragraphs() -> Iterable[str]:
    """Every block of prose, in one line each."""
    blocks = (block for topic in _topics() for block in re.split(r"\n\s*\n", topic) if not _UNDERLINE.search(block))
    return dict.fromkeys(_plain(block) for block in blocks)


def _headings() -> Iterator[str]:
    for topic in _topics():
        for block in re.split(r"\n\s*\n", topic):
            title = _plain(_UNDERLINE.sub("", block))
            if _UNDERLINE.search(block) and not _CODE.search(title):
                yield title


def _sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph that are language: those with code in them are left out."""
    return [
        sentence
        for sentence in _SENTENCE_END.split(paragraph)
        if sentence[-1:] in ".!?" and sentence[:1].isupper() and not _CODE.search(sentence) and _is_language(sentence)
    ]


def _is_language(sentence: str) -> bool:
    words = sentence.split()
    return len(words) >= 3 and sum(1 for word in words if _WORD.fullmatch(word)) >= 0.85 * len(words)


def _plain(block: str) -> str:
    return " ".join(_MARKUP.sub(" ", block).split()).replace(" ,", ",").replace(" .", ".")


def _topics() -> list[str]:
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    return [topics[name] for name in sorted(topics)]


def _deal(text: str) -> str:
    """A fixed shuffle: texts in this order are a sample without regard to where they stood."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
