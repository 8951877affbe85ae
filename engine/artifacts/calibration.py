"""Calibration and evaluation texts, taken from the Python reference manual.

The quality of a static int8 model depends on its calibration texts; generated words give poor results. The manual in
the standard library (`pydoc_data.topics`) is natural English and available offline with every Python. The hash of a
paragraph assigns it to calibration or to evaluation, so the two sets share no sentence.
"""

import hashlib
import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engine.errors import InvalidRequest

CALIBRATION_TEXTS = 300
EVALUATION_TEXTS = 576
MIN_CALIBRATION_TEXTS = 32
"""Fewer texts do not cover the ranges of activations."""
_MAX_FILE_BYTES = 64 << 20
_MAX_TEXT_CHARACTERS = 10_000
_STRATA_WORDS = ((2, 8), (9, 16), (17, 30), (31, 120))
"""(minimum, maximum) words, inclusive; evaluation takes the same number of texts from each stratum.

The strata correspond to headings, short sentences, long sentences and paragraphs.
"""
_UNDERLINE = re.compile(r"\n[*=~^\"'+-]{3,}\s*$")
_MARKUP = re.compile(r"\*\*|[*\"“”`]|\[\d+\]|^\s*(?:[*•-]|\d+\.|Note:|Warning:|See also:)\s+", re.MULTILINE)
_CODE = re.compile(r"::=|>>>|->|[{}<>=|\\_@\[\]]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_WORD = re.compile(r"[A-Za-z][A-Za-z’'-]*[,;:.!?)]*|\([A-Za-z][A-Za-z’'-]*[,;:.)]*|[0-9]+[,;:.)]*|a|I")
_HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration texts of a quantiser, and their hash, which is part of an artifact's key."""

    texts: tuple[str, ...]
    hash: str


def calibration_of(texts: Sequence[str]) -> Calibration:
    """Returns `texts` with the hash of their content and order."""
    digest = hashlib.sha256("\x00".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    return Calibration(tuple(texts), digest[:_HASH_DIGITS])


@cache
def default_calibration() -> Calibration:
    """Returns 300 sentences of the reference manual. They are the same on every machine with the same Python."""
    sentences = {sentence for paragraph in _paragraphs(evaluation=False) for sentence in _sentences(paragraph)}
    return calibration_of(sorted(sentences, key=_shuffle_key)[:CALIBRATION_TEXTS])


def calibration_from(path: Path) -> Calibration:
    """Reads the user's texts, one per line, and keeps the first 300 in the order of their hashes.

    Raises InvalidRequest when the file cannot be read, is not UTF-8 text or has fewer than 32 different lines.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InvalidRequest(f"{path} is larger than 64 MiB: give a file with about {CALIBRATION_TEXTS} texts")
        text = path.read_text("utf-8")
    except OSError as error:
        raise InvalidRequest(f"the calibration file {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path} is not UTF-8 text: give a file with one text per line") from error
    lines = {line.strip()[:_MAX_TEXT_CHARACTERS] for line in text.splitlines() if line.strip()}
    if len(lines) < MIN_CALIBRATION_TEXTS:
        raise InvalidRequest(
            f"{path} has {len(lines)} different texts (one per line): calibration needs at least "
            f"{MIN_CALIBRATION_TEXTS}, better {CALIBRATION_TEXTS}, similar to the texts that will be served"
        )
    return calibration_of(sorted(lines, key=_shuffle_key)[:CALIBRATION_TEXTS])


@cache
def evaluation_texts() -> tuple[str, ...]:
    """Returns 576 headings, sentences and paragraphs, the same number of each length.

    None of them is in the default calibration.
    """
    seen = set(default_calibration().texts)
    strata: list[list[str]] = [[] for _ in _STRATA_WORDS]
    for text in sorted(set(_candidates()) - seen, key=_shuffle_key):
        words = text.count(" ") + 1
        for stratum, (minimum, maximum) in zip(strata, _STRATA_WORDS, strict=True):
            if minimum <= words <= maximum:
                stratum.append(text)
    # The manual of another Python may have few texts of a length. Other lengths then fill up the promised number.
    share = EVALUATION_TEXTS // len(strata)
    chosen = [text for stratum in strata for text in stratum[:share]]
    spare = [text for stratum in strata for text in stratum[share:]]
    return tuple(chosen + spare[: EVALUATION_TEXTS - len(chosen)])


def _candidates() -> Iterator[str]:
    """Yields sentences, headings, and paragraphs that consist of sentences only."""
    calibrating = {sentence for paragraph in _paragraphs(evaluation=False) for sentence in _sentences(paragraph)}
    for paragraph in _paragraphs(evaluation=True):
        sentences = _sentences(paragraph)
        if len(sentences) > 1 and not calibrating.intersection(sentences):
            yield " ".join(sentences)
        yield from (sentence for sentence in sentences if sentence not in calibrating)
    yield from _headings()


def _paragraphs(*, evaluation: bool) -> Iterator[str]:
    """Yields the paragraphs assigned to evaluation or to calibration, without markup."""
    for paragraph in _all_paragraphs():
        if (int(_shuffle_key(paragraph)[:2], 16) % 2 == 1) is evaluation:
            yield paragraph


def _all_paragraphs() -> Iterable[str]:
    """Returns every block of prose, as one line each."""
    blocks = (block for topic in _topics() for block in re.split(r"\n\s*\n", topic) if not _UNDERLINE.search(block))
    return dict.fromkeys(_plain(block) for block in blocks)


def _headings() -> Iterator[str]:
    for topic in _topics():
        for block in re.split(r"\n\s*\n", topic):
            title = _plain(_UNDERLINE.sub("", block))
            if _UNDERLINE.search(block) and not _CODE.search(title):
                yield title


def _sentences(paragraph: str) -> list[str]:
    """Returns the sentences of a paragraph, except those that contain code."""
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


def _shuffle_key(text: str) -> str:
    """Returns a sort key that shuffles texts in the same way on every machine."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
