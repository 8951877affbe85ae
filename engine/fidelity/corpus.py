"""The texts that fidelity is judged on: prose that every machine has, or the user's own; never what calibrated."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.artifacts.calibration import default_calibration, evaluation_texts
from engine.errors import InvalidRequest
from engine.fidelity.metrics import FEWEST_TEXTS

MOST_TEXTS = 2048
"""Similarities of all pairs are compared: more texts cost the square of it and tell nothing new."""
_LARGEST_FILE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Corpus:
    """Different texts, and the hash that their reference vectors are kept under."""

    name: str
    texts: tuple[str, ...]

    @property
    def hash(self) -> str:
        """sha256 of the texts in their order."""
        return hashlib.sha256("\x00".join(self.texts).encode("utf-8", "surrogatepass")).hexdigest()


def built_in_corpus(calibrated_on: Collection[str] = ()) -> Corpus:
    """Natural sentences of all lengths, without those that calibrated."""
    return Corpus("built-in", _without(evaluation_texts(), calibrated_on))


def corpus_of(name: str, texts: Iterable[str], calibrated_on: Collection[str] = ()) -> Corpus:
    """The user's texts: each once, at most 2,048 of them as many of each length, none that calibrated.

    Raises InvalidRequest when too few are left.
    """
    different = _without(dict.fromkeys(text.strip() for text in texts if text.strip()), calibrated_on)
    if len(different) < FEWEST_TEXTS:
        raise InvalidRequest(
            f"{name} has {len(different)} different texts that did not calibrate: give at least {FEWEST_TEXTS}, "
            "better 512 or more"
        )
    by_length = sorted(different, key=lambda text: (len(text), text))
    count = min(len(by_length), MOST_TEXTS)
    return Corpus(name, tuple(by_length[index * len(by_length) // count] for index in range(count)))


def corpus_from(path: Path, calibrated_on: Collection[str] = ()) -> Corpus:
    """A file's lines, one text each. Raises InvalidRequest when it cannot be read or has too few texts."""
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise InvalidRequest(f"{path} is larger than 64 MiB: give a sample of it, {MOST_TEXTS} texts are read")
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path} is not UTF-8 text: convert it first") from error
    return corpus_of(str(path), lines, calibrated_on)


def _without(texts: Iterable[str], calibrated_on: Collection[str]) -> tuple[str, ...]:
    calibrated = {*default_calibration().texts, *calibrated_on}
    return tuple(text for text in texts if text not in calibrated)
