"""Measures forward passes of one cell without a server, varied in one setting.

    python -m benchmarks.passes --vary fusions|row-tokens [--cell onnx/int8] [--texts 1,6,16,44]
                                [--corpus short|mixed] [--rounds 6] [--seconds 0.5]

One-thread executors, one per core, run batches of random texts. In every round every variant has one turn on the same
texts, in a new random order. Ratios are paired by round, with 95 % intervals. The first variant is the setting of the
engine; if a later one sets the same value, their ratio shows the noise.
"""

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Protocol, cast

from benchmarks.arguments import positive
from benchmarks.bare import prepared, texts_per_s
from benchmarks.peers.report import with_interval
from console.analysis.ratios import paired_ratio
from console.load.corpora import CorpusError, load_corpus
from engine.backends import backend
from engine.backends.base import Cell, LoadedModel
from engine.backends.recipes import recipe_of
from engine.errors import EngineError
from engine.host.machine import cores, cpu_model
from engine.models.resolve import ModelFiles, resolve_model
from engine.models.tokenizer import Tokenizer
from engine.scheduling.contract import Executor, TokenIds

BATCHES = 256
"""Drawn again for every round and number of texts."""
WARM_S = 0.2
SEED = 4
AS_IT_IS = "as the engine does"
ROW_TOKENS = (24, 32, 48, 64, 96)

Variants = Mapping[str, Callable[[], Executor]]
"""Creates an executor, by variant. The first variant is the base of the ratios."""
Rates = Mapping[tuple[int, str], Sequence[float]]
"""Texts/s of each round, by texts per pass and variant."""


class PackingModel(Protocol):
    """A loaded model with packed rows."""

    def executor(self, threads: int, *, row_tokens: int = ...) -> Executor: ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A cell as the engine loads it, and the paths to load it again."""

    cell: Cell
    files: ModelFiles
    artifact: Path
    model: LoadedModel


def main() -> int:
    """Prints the markdown table. Returns 0; 3 for an invalid cell or texts; 5 when the cell cannot be loaded."""
    asked = _parser().parse_args()
    try:
        cell, sizes = cell_of(asked.cell), sizes_of(asked.texts)
        _refuse_what_cannot_vary(cell, asked.vary)
        texts = load_corpus(asked.corpus, SEED).texts
    except (ValueError, CorpusError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    try:
        loaded = _load(cell)
        variants = _VARY[asked.vary](loaded)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 5
    ids = [one.ids for one in Tokenizer.load(loaded.files).encode(texts)]
    rates = _measure(variants, ids, sizes, asked.rounds, asked.seconds)
    print(
        f"{cell.backend} {cell.precision} {cell.recipe}, {asked.corpus} texts, {cores()} executors of one thread, "
        f"{asked.rounds} rounds of {asked.seconds:g} s, {cpu_model()}\n"
    )
    print(table(rates, sizes, list(variants)))
    return 0


def cell_of(words: str) -> Cell:
    """Parses `onnx/int8` or `onnx/int8/dynamic` to a cell on the CPU. Raises ValueError."""
    backend_name, precision, recipe, *more = [*words.split("/"), "", ""]
    cell = Cell(backend=backend_name, precision=precision, recipe=recipe, device="cpu")
    try:
        if any(more):
            raise EngineError("it has too many parts")
        return Cell(backend=backend_name, precision=precision, recipe=recipe_of(cell).name, device="cpu")
    except EngineError as error:
        raise ValueError(f"{words!r} is not a cell: {error}; write BACKEND/PRECISION, as in onnx/int8") from error


def sizes_of(words: str) -> list[int]:
    """Parses `1,6,16` to numbers of texts. Raises ValueError."""
    if not all(word.isdecimal() and int(word) for word in words.split(",")):
        raise ValueError(f"{words!r} is not a list of numbers above 0: write --texts 1,6,16,44")
    return list(dict.fromkeys(int(word) for word in words.split(",")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vary", choices=tuple(_VARY), required=True)
    parser.add_argument("--cell", default="onnx/int8", metavar="BACKEND/PRECISION[/RECIPE]")
    parser.add_argument("--texts", default="1,6,16,44", metavar="N,…", help="texts per pass")
    parser.add_argument("--corpus", default="short", help="short, mixed, long or a file with one text per line")
    parser.add_argument("--rounds", type=positive(int), default=6)
    parser.add_argument("--seconds", type=positive(float), default=0.5, help="of each variant in each round")
    return parser


def _refuse_what_cannot_vary(cell: Cell, vary: str) -> None:
    """Checks that the setting applies to the cell, before anything is prepared. Raises ValueError."""
    if vary == "fusions" and cell.backend != "onnx":
        raise ValueError(
            f"fusions are ONNX Runtime's, not {cell.backend}'s: choose an onnx cell, as in --cell onnx/int8"
        )
    if cell.backend == "torch":
        raise ValueError("torch does not pack texts: choose --cell onnx/int8 or openvino/int8")


def _load(cell: Cell) -> Loaded:
    """Loads the cell. Raises EngineError."""
    files = resolve_model(None)
    artifact = prepared(files, cell)
    model = backend(cell.backend).load(artifact, files.path, cell, 1)
    print(f"{cell.backend} {cell.precision}: {model.evidence}", file=sys.stderr)
    return Loaded(cell, files, artifact, model)


def _fusions(loaded: Loaded) -> Variants:
    """Returns variants with each of the fusions that the engine disables, on the same graph. Raises EngineError."""
    from engine.backends.onnx.runtime import SLOWER_FUSIONS, OnnxBackend

    def without(*names: str) -> Callable[[], Executor]:
        model = OnnxBackend(names).load(loaded.artifact, loaded.files.path, loaded.cell, 1)
        return partial(model.executor, 1)

    with_one = {
        f"with {name}": without(*(other for other in SLOWER_FUSIONS if other != name)) for name in SLOWER_FUSIONS
    }
    return {AS_IT_IS: partial(loaded.model.executor, 1)} | with_one


def _row_tokens(loaded: Loaded) -> Variants:
    """Returns variants with other row widths, on the same session. Raises EngineError."""
    executor = _packing(loaded).executor
    return {AS_IT_IS: partial(executor, 1)} | {str(one): partial(executor, 1, row_tokens=one) for one in ROW_TOKENS}


_VARY: Mapping[str, Callable[[Loaded], Variants]] = {"fusions": _fusions, "row-tokens": _row_tokens}


def _packing(loaded: Loaded) -> PackingModel:
    if not loaded.model.packs:
        raise EngineError("this model does not support packing: choose --vary fusions")
    return cast("PackingModel", loaded.model)


def _measure(
    variants: Variants, ids: Sequence[TokenIds], sizes: Sequence[int], rounds: int, seconds: float
) -> dict[tuple[int, str], list[float]]:
    chance = random.Random(SEED)  # noqa: S311 - texts and an order, no secret
    rates: defaultdict[tuple[int, str], list[float]] = defaultdict(list)

    def run(size: int, names: Iterable[str], seconds: float) -> dict[str, float]:
        batches = [chance.choices(ids, k=size) for _ in range(BATCHES)]
        shares = [batches[first :: cores()] for first in range(cores())]
        return {name: texts_per_s(variants[name], [cycle(share) for share in shares], seconds) for name in names}

    for size in sizes:  # runtimes that prepare kernels by shape prepare most of them here
        run(size, variants, WARM_S)
    for number in range(rounds):
        for size in chance.sample(sizes, len(sizes)):
            for name, rate in run(size, chance.sample(list(variants), len(variants)), seconds).items():
                rates[size, name].append(rate)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return dict(rates)


def table(rates: Rates, sizes: Sequence[int], variants: Sequence[str]) -> str:
    """Returns medians over the rounds, and ratios to the first variant in the same round."""
    lines = ["| texts a pass | variant | texts/s | × the first |", "|---:|---|---:|---:|"]
    for size in sizes:
        for name in variants:
            own, base = rates[size, name], rates[size, variants[0]]
            ratio = "1" if name == variants[0] else with_interval(paired_ratio(own, base))
            lines.append(f"| {size} | {name} | {median(own):,.0f} | {ratio} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
