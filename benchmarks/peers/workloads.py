"""The workloads: batch x concurrency on texts of one corpus."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from console.load.corpora import GENERATED_CORPORA, load_corpus
from engine.models.resolve import resolve_model
from engine.models.tokenizer import Tokenizer

SHAPES = ((1, 1), (1, 8), (1, 32), (8, 8), (32, 4), (32, 8))
SEED = 4
_FORM = re.compile(r"(\d+)x(\d+)(?:-(\w+))?")


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload: `batch` texts per request, `concurrency` requests in flight."""

    batch: int
    concurrency: int
    corpus: str

    @property
    def name(self) -> str:
        """Its name on the command line: `32x4-short`."""
        return f"{self.batch}x{self.concurrency}-{self.corpus}"


WORKLOADS = tuple(Workload(batch, concurrency, corpus) for corpus in GENERATED_CORPORA for batch, concurrency in SHAPES)


def parse_workloads(words: str) -> tuple[Workload, ...]:
    """Parses `32x4-short,1x32` (without a corpus: all of them) or `long` (all shapes); all workloads if empty.

    Raises ValueError with the expected format.
    """
    return tuple(dict.fromkeys(one for word in words.split(",") for one in _parse(word.strip()))) or WORKLOADS


def _parse(word: str) -> Iterable[Workload]:
    if not word:
        return ()
    if word in GENERATED_CORPORA:
        return (one for one in WORKLOADS if one.corpus == word)
    found = _FORM.fullmatch(word)
    if not found or int(found[1]) < 1 or int(found[2]) < 1 or (found[3] or "short") not in GENERATED_CORPORA:
        raise ValueError(f"{word!r} is not a workload: write 32x4-short, 1x32 or long, with commas between them")
    kinds = [found[3]] if found[3] else GENERATED_CORPORA
    return (Workload(int(found[1]), int(found[2]), corpus) for corpus in kinds)


def corpora() -> dict[str, list[str]]:
    """Returns the generated corpora of the console, the same texts for all contenders.

    Texts longer than the limit of the model are excluded: the ONNX engine of infinity truncates at 512 tokens and the
    others at 256, so the work would differ.
    """
    tokenizer = Tokenizer.load(resolve_model(None))
    found = {}
    for name in GENERATED_CORPORA:
        texts = load_corpus(name, SEED).texts
        found[name] = [text for text, one in zip(texts, tokenizer.encode(texts), strict=True) if not one.truncated]
    return found
