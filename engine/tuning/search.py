"""The search for a serving plan: the fastest instances × threads, the fixed cost of a pass, and the largest batch.

Run as a module it is the child process that searches. The models that are tried leave no memory behind in the server.
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
    """The lengths of the texts that are timed, in tokens: from `mean - spread` to `mean + spread`.

    The spread is 0 for a runtime that pads: the server sorts its batches by length. A runtime that packs texts into
    rows gets different lengths: kernels that are compiled per shape are slower when every pass has another shape, and
    more texts fill the rows better.
    """

    mean: int
    spread: int


SHORT = Lengths(16, 8)
"""Short queries, for which serving plans differ most."""
MIXED = Lengths(32, 24)
"""The widest mix of lengths, which needs the largest batches."""
UNIFORM = Lengths(16, 0)
"""A batch of the server after it was sorted by length."""
BATCHES = 6
"""Different batches of each size, used in turn."""
BATCH = 32
"""Texts of a batch when instances × threads are compared."""
WINDOW_S = 0.2
"""Duration of one measurement, in seconds."""
ROUNDS = 5
"""Measurements of each split of the cores."""
SIZE_ROUNDS = 3
"""Measurements of each batch size."""
KNEE_EFFICIENCY = 0.97
"""Share of the best throughput at which a batch is large enough: a larger one mostly adds latency."""
TIE_SHARE = 0.03
"""Splits of the cores whose throughputs differ by less are equal; more threads then give a lower latency."""
SMALLEST_BUDGET_TOKENS = 512
"""One pass of 32 short texts: a smaller budget would split the most common request."""
LARGEST_TOKENS = {"cpu": 2048}
"""Tokens of the largest pass that is timed, by device."""
_LARGEST_TOKENS_ELSEWHERE = 32_768
_MIN_TOKENS_PER_TEXT = 8
"""Texts of a batch are bounded by its token budget divided by this."""
_SILENT_S = 180.0
"""Longest time without a line from the child process, in seconds."""


@dataclass(frozen=True, slots=True)
class PassTime:
    """The duration of a forward pass of `tokens` tokens while all instances run."""

    tokens: int
    seconds: float


def splits(cores: int) -> list[tuple[int, int]]:
    """Returns the (instances, threads) that use all cores, from one thread per instance to one instance."""
    return [(cores // threads, threads) for threads in range(1, cores + 1) if cores % threads == 0]


def best_split(rates: Mapping[tuple[int, int], Sequence[float]]) -> tuple[int, int]:
    """Returns the split with the highest median rate; within TIE_SHARE of it, the one with the most threads."""
    medians = {split: median(measured) for split, measured in rates.items()}
    enough = max(medians.values()) * (1 - TIE_SHARE)
    return max((split for split, rate in medians.items() if rate >= enough), key=lambda split: split[1])


def pass_cost_tokens(times: Sequence[PassTime]) -> int:
    """Returns the fixed cost of a pass in tokens: intercept over slope of a line fitted to time against tokens.

    The fit minimises relative errors, so that small passes, which determine the intercept, weigh as much as large ones.
    """
    tokens, seconds = (np.array([getattr(one, name) for one in times]) for name in ("tokens", "seconds"))
    columns = np.stack([1 / seconds, tokens / seconds], axis=1)
    (fixed_s, per_token_s), *_ = np.linalg.lstsq(columns, np.ones(len(times)), rcond=None)
    if per_token_s <= 0:  # the time does not depend on the tokens
        return int(tokens.max())
    return int(min(max(1, round(fixed_s / per_token_s)), int(tokens.max())))


def knee_tokens(times: Sequence[PassTime]) -> int:
    """Returns the fewest tokens per pass whose throughput reaches KNEE_EFFICIENCY of the best one.

    The throughputs come from the fitted cost of a pass, to which all sizes contribute: the difference between two
    sizes is smaller than the noise of one measurement.
    """
    cost = pass_cost_tokens(times)
    efficiency = {one.tokens: one.tokens / (one.tokens + cost) for one in times}
    return min(tokens for tokens, own in efficiency.items() if own >= KNEE_EFFICIENCY * max(efficiency.values()))


def tune(
    model: LoadedModel, ids: TokenIds, device: str, cores: int, on_step: Callable[[int, int], None]
) -> ServingPlan:
    """Measures the loaded model with texts cut from `ids`. Calls `on_step` with the steps done and their total.

    A device other than the CPU gets one instance of one thread: more instances would compete for it.
    """
    candidates = splits(cores) if device == "cpu" else [(1, 1)]
    short, of_sizes = (SHORT, MIXED) if model.packs else (UNIFORM, UNIFORM)
    sizes = _sizes(device, of_sizes.mean)
    total = ROUNDS * len(candidates) + SIZE_ROUNDS * len(sizes)
    done = 0
    executors = {split: [model.executor(split[1]) for _ in range(split[0])] for split in candidates}
    rates: dict[tuple[int, int], list[float]] = {split: [] for split in candidates}
    order = random.Random(0)  # noqa: S311 - an order, not a secret
    batches = batches_of(ids, BATCH, short)
    for number in range(ROUNDS):
        for split in order.sample(candidates, len(candidates)):
            pass_s = _mean_pass_s(executors[split], batches, warm_up=not number)
            rates[split].append(BATCH * len(executors[split]) / pass_s)
            on_step(done := done + 1, total)
    instances, threads = best_split(rates)
    passes_s: dict[int, list[float]] = {size: [] for size in sizes}
    batches_by_size = {size: batches_of(ids, size, of_sizes) for size in sizes}
    for number in range(SIZE_ROUNDS):
        for size in order.sample(sizes, len(sizes)):
            pass_s = _mean_pass_s(executors[instances, threads], batches_by_size[size], warm_up=not number)
            passes_s[size].append(pass_s)
            on_step(done := done + 1, total)
    times = [PassTime(size * of_sizes.mean, median(measured_s)) for size, measured_s in passes_s.items()]
    budget = max(SMALLEST_BUDGET_TOKENS, knee_tokens(times))
    return ServingPlan(
        instances, threads, budget, budget // _MIN_TOKENS_PER_TEXT, pass_cost_tokens(times),
        texts_per_s=round(median(rates[instances, threads]), 1),
    )  # fmt: skip


def _sizes(device: str, mean_tokens: int) -> list[int]:
    """Returns the batch sizes to time, in texts: 1, 4, 8, 16, … up to the largest pass for the device."""
    largest = LARGEST_TOKENS.get(device, _LARGEST_TOKENS_ELSEWHERE) // mean_tokens
    return [1, *(1 << power for power in range(2, largest.bit_length()))]


def batches_of(ids: TokenIds, count: int, lengths: Lengths) -> list[list[TokenIds]]:
    """Returns BATCHES batches of `count` texts cut from `ids`.

    The batches come in pairs: text i of the second one has as many tokens below the mean as text i of the first one
    has above it, so that each pair has exactly the mean length.
    """

    def text(number: int, length: int) -> TokenIds:
        return [ids[(number * 7 + offset) % len(ids)] for offset in range(length)]

    batches = []
    for first in range(0, BATCHES // 2 * count, count):
        numbers = range(first, first + count)
        deviations = [number * 5 % (2 * lengths.spread + 1) - lengths.spread for number in numbers]
        for sign in (1, -1):
            pairs = zip(numbers, deviations, strict=True)
            batches.append([text(number, lengths.mean + sign * deviation) for number, deviation in pairs])
    return batches


def _mean_pass_s(executors: Sequence[Executor], batches: Sequence[list[TokenIds]], *, warm_up: bool) -> float:
    """Returns the mean seconds of a pass while all executors run, each in its own thread, for WINDOW_S.

    `warm_up`: first runs each batch once without timing it, because a runtime prepares itself for a new shape.
    """
    ready = threading.Barrier(len(executors))
    means_s: list[float] = []
    failures: list[BaseException] = []

    def run(executor: Executor) -> None:
        try:
            for batch in batches if warm_up else ():
                executor(batch)
            ready.wait()
            started_s = time.perf_counter()
            passes = 0
            while (elapsed_s := time.perf_counter() - started_s) < WINDOW_S or passes % 2 or not passes:
                executor(batches[passes % len(batches)])
                passes += 1
            means_s.append(elapsed_s / passes)
        except BaseException as error:  # raised again in the caller's thread
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=run, args=(executor,)) for executor in executors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in failures:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return sum(means_s) / len(means_s)


async def tune_in_child(
    files: ModelFiles, artifact: Artifact, cell: Cell, cores: int, on_step: Callable[[int, int], None]
) -> ServingPlan:
    """Measures a prepared cell in a child process, which takes seconds. Raises CannotSwitch when the child fails."""
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
        raise CannotSwitch(f"the serving plan of {cell} could not be measured: {error}") from error
    raise CannotSwitch(f"the serving plan of {cell} could not be measured: the child process ended without a result")


def main() -> int:
    """Runs the child process."""
    from engine.backends import backend

    worker = Worker(niceness=0)  # at a lower priority it would measure only the CPU time that others leave
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
