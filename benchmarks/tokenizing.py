"""Measures the time to tokenize one text per call, as in single-text requests: `python -m benchmarks.tokenizing`.

It measures the tokenizer alone, and the engine with its token cache at the first, second and third pass over the texts.
"""

import random
import time
from collections.abc import Callable, Sequence

from console.load.corpora import load_corpus
from engine.artifacts.calibration import evaluation_texts
from engine.models.resolve import resolve_model
from engine.models.tokenizer import Tokenizer

SIGHTS = 3


def microseconds(encode: Callable[[list[str]], object], texts: Sequence[str]) -> float:
    """Returns the mean of one pass over the texts, each in its own call."""
    started_s = time.perf_counter()
    for text in texts:
        encode([text])
    return (time.perf_counter() - started_s) / len(texts) * 1e6


def main() -> None:
    """Measures short queries, prose, and words that never recur."""
    chance = random.Random(0)  # noqa: S311 - no secret
    corpora = {
        "short": load_corpus("short", 4).texts[:2000],
        "prose": evaluation_texts(),
        "hashes": [" ".join(f"{chance.getrandbits(40):x}" for _ in range(6)) for _ in range(2000)],
    }
    for name, texts in corpora.items():
        tokenizer = Tokenizer.load(resolve_model(None))
        spelled = microseconds(tokenizer.spell, texts)
        sights = ", ".join(f"{microseconds(tokenizer.encode, texts):.1f}" for _ in range(SIGHTS))
        print(f"{name}: the tokenizer {spelled:.1f} µs a text; the engine {sights} µs at first, second, third sight")


if __name__ == "__main__":
    main()
