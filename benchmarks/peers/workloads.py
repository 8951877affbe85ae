"""What is asked of every contender: batch x concurrency on texts of one kind."""

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
    """`batch` texts a request, `concurrency` requests in flight."""

    batch: int
    concurrency: int
    corpus: str

    @property
    def name(self) -> str:
        """As it is written on the command line: `32x4-short`."""
        return f"{self.batch}x{self.concurrency}-{self.corpus}"


WORKLOADS = tuple(Workload(batch, concurrency, corpus) for corpus in GENERATED_CORPORA for batch, concurrency in SHAPES)


def parse_workloads(words: str) -> tuple[Workload, ...]:
    """`32x4-short,1x32` (without a corpus: on all of them), `long` (in every shape); nothing is all.

    Raises ValueError with the form that is understood.
    """
    return tuple(dict.fromkeys(one for word in words.split(",") for one in _parse(word.strip()))) or WORKLOADS


def _parse(word: str) -> Iterable[Workload]:
    if not word:
        return ()
    if word in GENERATED_CORPORA:
        return (one for one in WORKLOADS if one.corpus == word)
    found = _FORM.fullmatch(word)
    if not found or int(found[1]) < 1 or int(found[2]) < 1 or (found[3] or "short") not in GENERATED_CORPORA:
        raise ValueError(f"{word!r} is no workload: write 32x4-short, 1x32 or long, with commas between them")
    kinds = [found[3]] if found[3] else GENERATED_CORPORA
    return (Workload(int(found[1]), int(found[2]), corpus) for corpus in kinds)


def corpora() -> dict[str, list[str]]:
    """The console's generated corpora, the same texts for all.

    Texts over the model's limit are left out: infinity's ONNX engine reads them to 512 tokens where the others stop at
    256, and the same request would be two kinds of work.
    """
    tokenizer = Tokenizer.load(resolve_model(None))
    found = {}
    for name in GENERATED_CORPORA:
        texts = load_corpus(name, SEED).texts
        found[name] = [text for text, one in zip(texts, tokenizer.encode(texts), strict=True) if not one.truncated]
    return found
