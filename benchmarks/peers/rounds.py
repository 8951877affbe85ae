"""Runs the rounds: each starts new servers and gives every contender a turn at every workload in random order."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.contenders import Contender
from benchmarks.peers.line import Order
from benchmarks.peers.processes import Child, Failed, cpu_s, rss_bytes
from benchmarks.peers.servers import Bench, Server, start_client, start_server
from benchmarks.peers.workloads import Workload

WARM_S = 0.5
START_TAKES_S = 8.0
"""A rough value, used only for the estimate."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One turn. CPU is per text, including warm-up; a contender without a server has no separate client."""

    round: int
    contender: str
    workload: str
    texts_per_s: float | None
    p50_ms: float | None
    p95_ms: float | None
    requests: int
    server_cpu_ms: float | None
    client_cpu_ms: float | None
    rss_mb: float
    errors: dict[str, int]


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from exec to ready, in one round."""

    round: int
    server: str
    ready_after_s: float


@dataclass(slots=True)
class Results:
    """All measurements, in order."""

    samples: list[Sample] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    cosines: dict[str, float] = field(default_factory=dict)
    """The lowest cosine with the vectors of sentence-transformers, by contender."""


@dataclass(frozen=True, slots=True)
class Runner:
    """A contender in a round."""

    contender: Contender
    server: Server
    client: Child


@dataclass(frozen=True, slots=True)
class Reference:
    """Texts and their vectors from sentence-transformers, (n, 384) unit rows."""

    texts: tuple[str, ...]
    vectors: NDArray[np.float32]

    def lowest_cosine(self, client: Child) -> float:
        """Returns the lowest cosine between the vectors of the client and the reference. Raises Failed."""
        found = client.vectors(self.texts)
        unit = found / np.linalg.norm(found, axis=1, keepdims=True)
        return float(np.einsum("nd,nd->n", unit, self.vectors).min())


def estimate_s(contenders: Sequence[Contender], workloads: Sequence[Workload], rounds: int, window_s: float) -> float:
    """Returns the estimated duration, without building and exporting. Slow peers extend their windows on long texts."""
    servers = len({one.server for one in contenders})
    return rounds * (servers * START_TAKES_S + len(contenders) * len(workloads) * (WARM_S + window_s) * 1.1)


def run_round(
    number: int,
    contenders: Sequence[Contender],
    workloads: Sequence[Workload],
    window_s: float,
    bench: Bench,
    reference: Reference,
    results: Results,
    print_progress: Callable[[str], None],
) -> None:
    """Adds one round to `results`. A failed contender is recorded there and skips the rest of the round."""
    chance = random.Random()  # noqa: S311 - an order, no secret
    with _running(number, contenders, bench, results, print_progress) as runners:
        for runner in list(runners):
            with _record_failure(runner, runners, results, print_progress):  # this also warms it up
                name, cosine = runner.contender.name, reference.lowest_cosine(runner.client)
                results.cosines[name] = min(cosine, results.cosines.get(name, 1.0))
        turns = chance.sample(list(workloads), len(workloads))
        for turn, workload in enumerate(turns, start=1):
            print_progress(f"round {number + 1}, workload {turn} of {len(turns)}: {workload.name}")
            for runner in chance.sample(runners, len(runners)):
                with _record_failure(runner, runners, results, print_progress):
                    results.samples.append(_sample(number, runner, workload, window_s))


def _sample(number: int, runner: Runner, workload: Workload, window_s: float) -> Sample:
    order = Order(workload.corpus, workload.batch, workload.concurrency, WARM_S, window_s)
    pid = runner.server.process.pid
    before_s = cpu_s(pid)
    measured = runner.client.load(order)
    spent_s = cpu_s(pid) - before_s
    texts = measured.all_texts
    own_client = runner.server.inside is None
    return Sample(
        round=number,
        contender=runner.contender.name,
        workload=workload.name,
        texts_per_s=measured.texts_per_s,
        p50_ms=measured.p50_ms,
        p95_ms=measured.p95_ms,
        requests=measured.requests,
        server_cpu_ms=1e3 * spent_s / texts if texts else None,
        client_cpu_ms=1e3 * measured.client_cpu_s / texts if texts and own_client else None,
        rss_mb=rss_bytes(pid) / 1e6,
        errors=measured.errors,
    )


@contextmanager
def _record_failure(
    runner: Runner, runners: list[Runner], results: Results, print_progress: Callable[[str], None]
) -> Iterator[None]:
    try:
        yield
    except Failed as failure:
        runners.remove(runner)
        _note(f"{runner.contender.name}: {failure}", results, print_progress)


@contextmanager
def _running(
    number: int, contenders: Sequence[Contender], bench: Bench, results: Results, print_progress: Callable[[str], None]
) -> Iterator[list[Runner]]:
    """Starts the contenders one after another in random order and yields those that started. Stops them at the end."""
    servers: dict[str, Server] = {}
    runners: list[Runner] = []
    try:
        for one in random.sample(list(contenders), len(contenders)):
            try:
                if one.server not in servers:
                    print_progress(f"round {number + 1}: starting {one.server}")
                    servers[one.server] = server = start_server(one, bench)
                    if one.kind != "raw":  # it tokenizes all texts first, which is not part of start-up
                        results.starts.append(Start(number, one.server, server.ready_after_s))
                runners.append(Runner(one, servers[one.server], start_client(one, servers[one.server], bench)))
            except Failed as failure:
                _note(f"{one.name}: {failure}", results, print_progress)
        time.sleep(1.0)  # the last one to start may still be busy
        yield list(runners)
    finally:
        processes = [*(runner.client for runner in runners), *(server.process for server in servers.values())]
        for process in processes:
            process.close_stdin()
        for process in processes:
            process.stop()


def _note(failure: str, results: Results, print_progress: Callable[[str], None]) -> None:
    results.failures.append(failure)
    print_progress(f"FAILED {failure}")
