"""Runs the rounds: three new engines per cell take turns at every workload under one load client."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers.line import Order
from benchmarks.peers.processes import Child, Failed, rss_bytes
from benchmarks.peers.servers import OURS
from benchmarks.peers.workloads import Workload, parse_workloads
from benchmarks.versus.engines import Cell, Engine, Plan, start
from benchmarks.versus.report import BASE, CONTROL, OTHER, Memory, Sample
from benchmarks.versus.trees import Tree

SIDES = (BASE, OTHER, CONTROL)
WARM_S = 0.5
SETTLE_S = 1.0
START_TAKES_S = 5.0
"""A rough value, used only for the estimate."""
_STREAMED = "-streamed"


@dataclass(frozen=True, slots=True)
class Load:
    """A workload, unary or streamed."""

    workload: Workload
    streamed: bool = False

    @property
    def name(self) -> str:
        """`1x32-short`, `1x32-short-streamed`."""
        return f"{self.workload.name}{_STREAMED if self.streamed else ''}"

    @property
    def is_latency(self) -> bool:
        """Whether it has one caller with single texts."""
        return (self.workload.batch, self.workload.concurrency) == (1, 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The sides, cells and loads of a comparison."""

    trees: Mapping[str, Tree]
    """By side; the control has that of the base."""
    plans: Mapping[Cell, Plan | None]
    """None if each engine tunes for itself."""
    loads: Sequence[Load]
    seconds: float
    corpora: Path


@dataclass(slots=True)
class Results:
    """All measurements, in order."""

    samples: list[Sample] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)


def parse_loads(words: str) -> tuple[Load, ...]:
    """Parses `1x1,32x4-long,1x32-short-streamed`; the default corpus is `short`.

    Raises ValueError with the expected format.
    """
    loads: dict[Load, None] = {}
    for word in (one.strip() for one in words.split(",")):
        plain = word.removesuffix(_STREAMED)
        if not word:
            continue
        found = parse_workloads(plain if "-" in plain else f"{plain}-short")
        loads |= dict.fromkeys(Load(one, plain != word) for one in found)
    if not loads:
        raise ValueError("no workload to compare: write for example 1x1,1x32,32x4")
    return tuple(loads)


def estimate_s(rounds: int, cells: int, loads: int, seconds: float) -> float:
    """Returns the estimated duration of the rounds, without preparation."""
    a_cell = SETTLE_S + len(SIDES) * (START_TAKES_S + loads * (WARM_S + seconds) * 1.05)
    return rounds * cells * a_cell


@contextmanager
def clients(comparison: Comparison) -> Iterator[Mapping[bool, Child]]:
    """Yields the load clients of all engines, by whether they stream. Raises Failed."""
    running: dict[bool, Child] = {}
    try:
        for streamed in sorted({load.streamed for load in comparison.loads}):
            words = ("--stream",) if streamed else ()
            running[streamed] = Child(OURS, "client_grpc", "", str(comparison.corpora), *words)
        yield running
    finally:
        for client in running.values():
            client.stop()


def run_round(
    number: int,
    comparison: Comparison,
    loading: Mapping[bool, Child],
    results: Results,
    chance: random.Random,
    print_progress: Callable[[str], None],
) -> None:
    """Adds one round of every cell to `results`. Raises Failed when an engine or one request fails."""
    for cell in chance.sample(list(comparison.plans), len(comparison.plans)):
        print_progress(f"round {number + 1}: {cell}")
        with _engines(comparison, cell, chance) as engines:
            for load in chance.sample(list(comparison.loads), len(comparison.loads)):
                for side in chance.sample(SIDES, len(SIDES)):
                    found = _turn(number, comparison, cell, load, side, engines[side], loading[load.streamed])
                    results.samples.append(found)
            results.memory += [
                Memory(number, str(cell), side, rss_bytes(engine.process.pid) / 1e6) for side, engine in engines.items()
            ]


@contextmanager
def _engines(comparison: Comparison, cell: Cell, chance: random.Random) -> Iterator[dict[str, Engine]]:
    """Yields an engine of each side, started one after another; stops all of them afterwards."""
    running: dict[str, Engine] = {}
    try:
        for side in chance.sample(SIDES, len(SIDES)):
            running[side] = start(comparison.trees[side], cell, comparison.plans[cell])
        time.sleep(SETTLE_S)  # the last one to start may still be busy
        yield running
    finally:
        for engine in running.values():
            engine.process.close_stdin()
        for engine in running.values():
            engine.process.stop()


def _turn(
    number: int, comparison: Comparison, cell: Cell, load: Load, side: str, engine: Engine, client: Child
) -> Sample:
    workload = load.workload
    order = Order(
        workload.corpus, workload.batch, workload.concurrency, WARM_S, comparison.seconds, address=engine.address
    )  # fmt: skip
    who = f"{side} {comparison.trees[side].name}, {cell}, {load.name}"
    try:
        measured = client.load(order)
        engine.process.check_alive()
    except Failed as failure:
        raise Failed(f"{who}: {failure}") from failure
    if measured.errors or not measured.texts_per_s or not measured.p50_ms:
        raise Failed(f"{who}: requests failed, or too few were answered: {measured.errors or measured}")
    return Sample(number, str(cell), load.name, side, measured.texts_per_s, measured.p50_ms, load.is_latency)
