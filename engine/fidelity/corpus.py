"""The corpus that fidelity is measured on: built-in prose or the user's texts, without the texts that calibrated."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.artifacts.calibration import default_calibration, evaluation_texts
from engine.errors import InvalidRequest
from engine.fidelity.metrics import MIN_TEXTS

MAX_TEXTS = 2048
"""The similarities of all pairs are compared, so that time and memory grow with the square of the texts."""
_MAX_FILE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Corpus:
    """Distinct texts, and the hash that names their reference vectors in the cache."""

    name: str
    texts: tuple[str, ...]

    @property
    def hash(self) -> str:
        """sha256 of the texts in order."""
        return hashlib.sha256("\x00".join(self.texts).encode("utf-8", "surrogatepass")).hexdigest()


def built_in_corpus(calibrated_on: Collection[str] = ()) -> Corpus:
    """Returns the built-in corpus: natural sentences of all lengths, without those that calibrated."""
    return Corpus("built-in", _without(evaluation_texts(), calibrated_on))


def corpus_of(name: str, texts: Iterable[str], calibrated_on: Collection[str] = ()) -> Corpus:
    """Returns a corpus of the user's texts, without repetitions and without texts that calibrated.

    Of more than MAX_TEXTS texts, it takes a sample spread evenly over their lengths. Raises InvalidRequest if fewer
    than MIN_TEXTS are left.
    """
    distinct = _without(dict.fromkeys(text.strip() for text in texts if text.strip()), calibrated_on)
    if len(distinct) < MIN_TEXTS:
        raise InvalidRequest(
            f"{name} has {len(distinct)} distinct texts that were not used to calibrate: give at least {MIN_TEXTS}, "
            "better 512 or more"
        )
    by_length = sorted(distinct, key=lambda text: (len(text), text))
    count = min(len(by_length), MAX_TEXTS)
    return Corpus(name, tuple(by_length[index * len(by_length) // count] for index in range(count)))


def corpus_from(path: Path, calibrated_on: Collection[str] = ()) -> Corpus:
    """Returns a corpus from a file with one text per line. Raises InvalidRequest if it is unreadable or too small."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InvalidRequest(
                f"{path} is larger than 64 MiB: give a sample of it, at most {MAX_TEXTS} texts are used"
            )
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path} is not UTF-8 text: convert it first") from error
    return corpus_of(str(path), lines, calibrated_on)


def _without(texts: Iterable[str], calibrated_on: Collection[str]) -> tuple[str, ...]:
    calibrated = {*default_calibration().texts, *calibrated_on}
    return tuple(text for text in texts if text not in calibrated)
