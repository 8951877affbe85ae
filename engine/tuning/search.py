"""The sweep that finds a plan: which instances × threads are fastest, what a pass costs, and where batches stop to pay.

Run as a module it is the child that does so, in a process of its own: what was tried leaves no memory behind, and no
deployment that serves is disturbed by more than its share of the cores.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from engine.artifacts.prepare import Artifact
from engine.backends.base import Cell, LoadedModel
from engine.errors import CannotSwitch
from engine.host.child import ChildLost, Worker, reports
from engine.models.resolve import ModelFiles
from engine.scheduling import Executor, TokenIds
from engine.tuning.plan import ServingPlan


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of texts that are timed, in tokens: `mean`, and up to `spread` more or less.

    Where texts share rows they are unlike: runtimes that make kernels by shape are slower where no two passes are
    alike, and rows are filled the better the more texts there are to choose from. Elsewhere batches come sorted.
    """

    mean: int
    spread: int


SHORT, MIXED, ALIKE = Lengths(16, 8), Lengths(32, 24), Lengths(16, 0)
"""Short queries, where plans differ most; lengths as unlike as they come, for which batches must be largest; and what a
batch that was sorted by length comes to."""
BATCHES = 6
"""That take turns."""
BATCH = 32
WINDOW_S = 0.2
ROUNDS = 5
SIZE_ROUNDS = 3
ENOUGH = 0.97
"""A batch that reaches so much of the best rate is large enough: a larger one only takes longer."""
SAME = 0.03
"""Closer than this two splits are equal, and the wider instance answers a single text sooner."""
SMALLEST_BUDGET_TOKENS = 512
"""A single pass of 32 short texts: less would cut the commonest request in two."""
LARGEST_TOKENS = {"cpu": 2048}
_LARGEST_ELSEWHERE = 32_768
_FEWEST_TOKENS_A_TEXT = 8
_SILENT_S = 180.0


@dataclass(frozen=True, slots=True)
class PassTime:
    """How long a forward pass of so many tokens takes while all instances are at work."""

    tokens: int
    seconds: float


def splits(cores: int) -> list[tuple[int, int]]:
    """The (instances, threads) that use all cores, from many narrow instances to one wide."""
    return [(cores // threads, threads) for threads in range(1, cores + 1) if cores % threads == 0]


def best_split(rates: Mapping[tuple[int, int], Sequence[float]]) -> tuple[int, int]:
    """That with the highest median; of those that are the same, the one with the widest instances."""
    medians = {split: median(found) for split, found in rates.items()}
    enough = max(medians.values()) * (1 - SAME)
    return max((split for split, rate in medians.items() if rate >= enough), key=lambda split: split[1])


def pass_cost_tokens(times: Sequence[PassTime]) -> int:
    """What a pass costs before its first token, in tokens: intercept over slope of time against tokens.

    Relative errors are made least, so that the small passes, which show the intercept, count as much as the large.
    """
    tokens, seconds = (np.array([getattr(one, name) for one in times]) for name in ("tokens", "seconds"))
    columns = np.stack([1 / seconds, tokens / seconds], axis=1)
    (fixed_s, per_token_s), *_ = np.linalg.lstsq(columns, np.ones(len(times)), rcond=None)
    if per_token_s <= 0:  # nothing but launching was seen
        return int(tokens.max())
    return int(min(max(1, round(fixed_s / per_token_s)), int(tokens.max())))


def knee_tokens(times: Sequence[PassTime]) -> int:
    """The fewest tokens of a pass that reach nearly the rate of the largest.

    By what a pass costs, to which all sizes contribute: the rates of two sizes differ by less than one is sure of.
    """
    cost = pass_cost_tokens(times)
    efficiency = {one.tokens: one.tokens / (one.tokens + cost) for one in times}
    return min(tokens for tokens, own in efficiency.items() if own >= ENOUGH * max(efficiency.values()))


def tune(
    model: LoadedModel, ids: TokenIds, device: str, cores: int, on_step: Callable[[int, int], None]
) -> ServingPlan:
    """Sweeps the loaded model with texts cut from `ids`; `on_step` is told how many of how many steps are done.

    Another device than the CPU is given one instance of one thread: more would only compete for it.
    """
    candidates = splits(cores) if device == "cpu" else [(1, 1)]
    short, of_sizes = (SHORT, MIXED) if model.packs else (ALIKE, ALIKE)
    sizes = _sizes(device, of_sizes.mean)
    total = ROUNDS * len(candidates) + SIZE_ROUNDS * len(sizes)
    done = 0
    teams = {split: [model.executor(split[1]) for _ in range(split[0])] for split in candidates}
    rates: dict[tuple[int, int], list[float]] = {split: [] for split in candidates}
    order = random.Random(0)  # noqa: S311 - an order, not a secret
    batches = batches_of(ids, BATCH, short)
    for number in range(ROUNDS):
        for split in order.sample(candidates, len(candidates)):
            rates[split].append(BATCH * len(teams[split]) / _pass_s(teams[split], batches, cold=not number))
            on_step(done := done + 1, total)
    instances, threads = best_split(rates)
    found: dict[int, list[float]] = {size: [] for size in sizes}
    batches_by_size = {size: batches_of(ids, size, of_sizes) for size in sizes}
    for number in range(SIZE_ROUNDS):
        for size in order.sample(sizes, len(sizes)):
            found[size].append(_pass_s(teams[instances, threads], batches_by_size[size], cold=not number))
            on_step(done := done + 1, total)
    times = [PassTime(size * of_sizes.mean, median(passes_s)) for size, passes_s in found.items()]
    budget = max(SMALLEST_BUDGET_TOKENS, knee_tokens(times))
    return ServingPlan(
        instances, threads, budget, budget // _FEWEST_TOKENS_A_TEXT, pass_cost_tokens(times),
        texts_per_s=round(median(rates[instances, threads]), 1),
    )  # fmt: skip


def _sizes(device: str, mean_tokens: int) -> list[int]:
    """Texts of a pass: 1, 4, 8, 16, … up to what could pay there."""
    largest = LARGEST_TOKENS.get(device, _LARGEST_ELSEWHERE) // mean_tokens
    return [1, *(1 << power for power in range(2, largest.bit_length()))]


def batches_of(ids: TokenIds, count: int, lengths: Lengths) -> list[list[TokenIds]]:
    """BATCHES batches of `count` texts, parts of `ids`, in pairs: what one has too many the other lacks."""

    def text(number: int, length: int) -> TokenIds:
        return [ids[(number * 7 + place) % len(ids)] for place in range(length)]

    made = []
    for first in range(0, BATCHES // 2 * count, count):
        numbers = range(first, first + count)
        longer = [number * 5 % (2 * lengths.spread + 1) - lengths.spread for number in numbers]
        made += [[text(*one) for one in zip(numbers, (lengths.mean + more for more in longer), strict=True)]]
        made += [[text(*one) for one in zip(numbers, (lengths.mean - more for more in longer), strict=True)]]
    return made


def _pass_s(team: Sequence[Executor], batches: Sequence[list[TokenIds]], *, cold: bool) -> float:
    """The mean seconds of a pass while every executor of the team runs in a thread of its own, for WINDOW_S.

    `cold`: they never met these batches, and a first pass of each, which prepares its shape, is not counted.
    """
    ready = threading.Barrier(len(team))
    found: list[float] = []
    failed: list[BaseException] = []

    def work(executor: Executor) -> None:
        try:
            for batch in batches if cold else ():
                executor(batch)
            ready.wait()
            started_s = time.perf_counter()
            passes = 0
            while (spent_s := time.perf_counter() - started_s) < WINDOW_S or passes % 2 or not passes:
                executor(batches[passes % len(batches)])
                passes += 1
            found.append(spent_s / passes)
        except BaseException as error:  # carried to the caller's thread
            failed.append(error)
            ready.abort()

    threads = [threading.Thread(target=work, args=(executor,)) for executor in team]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in failed:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return sum(found) / len(found)


async def tune_in_child(
    files: ModelFiles, artifact: Artifact, cell: Cell, cores: int, on_step: Callable[[int, int], None]
) -> ServingPlan:
    """The plan of a prepared cell, from a child that takes seconds. Raises CannotSwitch when it was lost."""
    order = {
        "model": str(files.path), "artifact": str(artifact.path), "cell": asdict(cell), "cores": cores,
        "ids": [token for text in artifact.reference.token_ids for token in text],
    }  # fmt: skip
    try:
        async with aclosing(reports("engine.tuning.search", order, silent_s=_SILENT_S)) as lines:
            async for line in lines:
                if "plan" in line:
                    return ServingPlan(**line["plan"])
                on_step(line["done"], line["total"])
    except ChildLost as error:
        raise CannotSwitch(f"how to run {cell.backend} {cell.precision} could not be measured: {error}") from error
    raise CannotSwitch(f"how to run {cell.backend} {cell.precision} could not be measured: the child said nothing")


def main() -> int:
    """The child."""
    from engine.backends import backend

    worker = Worker(niceness=0)  # a niced child would measure what others leave over
    order = worker.order
    cell = Cell(**order["cell"])
    model = backend(cell.backend).load(Path(order["artifact"]), Path(order["model"]), cell, 1)
    plan = tune(
        model, order["ids"], cell.device, order["cores"], lambda done, total: worker.report(done=done, total=total)
    )
    worker.report(plan=asdict(plan))
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
