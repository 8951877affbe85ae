"""Measures the CPU time of an engine by thread under each load, which shows its bottleneck.

    python -m benchmarks.threads [--cells "onnx int8,openvino int8"] [--loads 1x1,1x32,32x4,32x8] [--rounds 5]

Texts × requests in flight, unary, short texts; one engine per cell and one client, on the same cores. For each group of
threads: milliseconds of CPU time per text, and milliseconds per text spent runnable but waiting for a core (Linux
schedstat). A thread that waits while it holds the interpreter lock delays all others. `idle` is the unused time of the
whole machine, in cores. Figures are medians over the rounds. The threads that run passes are taken to be the busiest
ones except for the event loop, as many as the plan has instances. At one request in flight the event loop runs most
passes.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks.arguments import positive
from benchmarks.cells import prepare
from benchmarks.peers.line import Measurement, Order
from benchmarks.peers.processes import Child, Failed
from benchmarks.peers.servers import OURS, Server, plan_of, start_engine
from console.load.corpora import load_corpus
from engine.backends.base import Cell
from engine.host.machine import cores, cpu_model

CORPUS, SEED = "short", 4
WARM_S = 1.5
"""Runtimes prepare kernels for most shapes in that time."""
EDGE_S = 0.3
"""Distance of the measured window from the start and the end of the load."""
LOOP, PASSES, OTHERS = "event loop", "passes", "gRPC's and others"


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds that a thread ran on a core, and that it was runnable but waited for one."""

    ran_s: float
    waited_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One load in one round: milliseconds per text, by group of threads."""

    texts_per_s: float
    p50_ms: float
    ran_ms: Mapping[str, float]
    waited_ms: Mapping[str, float]
    client_ms: float
    idle_cores: float


def main() -> int:
    """Prints the markdown table. Returns 0, or 5 when the engine or the client failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="onnx int8,openvino int8", help="backend precision, by comma")
    parser.add_argument("--loads", default="1x1,1x32,32x4,32x8", help="texts a request x requests in flight, by comma")
    parser.add_argument("--rounds", type=positive(int), default=5)
    parser.add_argument("--seconds", type=positive(float), default=2.0, help="of each load in each round")
    asked = parser.parse_args()
    try:
        pairs = [words.split() for words in asked.cells.split(",")]
        cells = [Cell(backend=backend, precision=precision, device="cpu") for backend, precision in pairs]
        numbers = [words.split("x") for words in asked.loads.split(",")]
        loads = [(int(size), int(callers)) for size, callers in numbers]
    except ValueError:
        parser.error('write --cells "onnx int8,openvino int8" and --loads 1x1,32x4')
    print(f"{CORPUS} texts, unary, {asked.rounds} rounds of {asked.seconds:g} s, {cores()} cores, {cpu_model()}\n")
    try:
        for cell in cells:
            prepare(cell)
            print(table(cell, _rounds(cell, loads, asked)), flush=True)
    except (RuntimeError, Failed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 5
    return 0


def _rounds(
    cell: Cell, loads: Sequence[tuple[int, int]], asked: argparse.Namespace
) -> Mapping[tuple[int, int], Sequence[Turn]]:
    """Runs the rounds. Raises Failed after stopping all processes."""
    turns: defaultdict[tuple[int, int], list[Turn]] = defaultdict(list)
    plan = plan_of(cell)
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(1) as loader:
        corpora = Path(place) / "corpora.json"
        corpora.write_text(json.dumps({CORPUS: load_corpus(CORPUS, SEED).texts}), "utf-8")
        server = start_engine(cell)
        try:
            client = Child(OURS, "client_grpc", server.address, str(corpora))
            try:
                for number in range(asked.rounds):
                    for size, callers in loads:
                        print(f"{cell}, round {number + 1}: {size} x {callers}", file=sys.stderr, flush=True)
                        order = Order(CORPUS, size, callers, WARM_S, asked.seconds + 2 * EDGE_S, answers_a_caller=0)
                        turns[size, callers].append(
                            _turn(order, server, client, loader, plan.instances * plan.threads, asked.seconds)
                        )
            finally:
                client.stop()
        finally:
            server.process.stop()
    return turns


def _turn(
    order: Order, server: Server, client: Child, loader: ThreadPoolExecutor, passing: int, window_s: float
) -> Turn:
    loading = loader.submit(client.load, order)
    time.sleep(WARM_S + EDGE_S)
    before, idle_s = _threads(server.process.pid), psutil.cpu_times().idle
    client_s = _cpu_s(client.pid)
    started_s = time.monotonic()
    time.sleep(window_s)
    after = _threads(server.process.pid)
    took_s = time.monotonic() - started_s
    idle_s, client_s = psutil.cpu_times().idle - idle_s, _cpu_s(client.pid) - client_s
    found: Measurement = loading.result()
    if found.texts_per_s is None or found.p50_ms is None:
        raise Failed(f"nothing was answered within {window_s:g} s: try more --seconds")
    texts = found.texts_per_s * took_s
    spent = {
        thread: CpuTime(one.ran_s - before[thread].ran_s, one.waited_s - before[thread].waited_s)
        for thread, one in after.items()
        if thread in before
    }
    groups = grouped(spent, server.process.pid, passing)
    return Turn(
        texts_per_s=found.texts_per_s,
        p50_ms=found.p50_ms,
        ran_ms={name: 1e3 * one.ran_s / texts for name, one in groups.items()},
        waited_ms={name: 1e3 * one.waited_s / texts for name, one in groups.items()},
        client_ms=1e3 * client_s / texts,
        idle_cores=idle_s / took_s,
    )


def _threads(pid: int) -> dict[int, CpuTime]:
    found = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has exited
            ran_ns, waited_ns, _ = (folder / "schedstat").read_text().split()
            found[int(folder.name)] = CpuTime(int(ran_ns) / 1e9, int(waited_ns) / 1e9)
    return found


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def grouped(spent: Mapping[int, CpuTime], main_thread: int, passing: int) -> dict[str, CpuTime]:
    """Groups threads: the main thread is the event loop, the `passing` busiest others run passes."""
    others = sorted((thread for thread in spent if thread != main_thread), key=lambda thread: -spent[thread].ran_s)
    groups = {LOOP: [main_thread], PASSES: others[:passing], OTHERS: others[passing:]}
    return {
        name: CpuTime(sum(spent[thread].ran_s for thread in threads), sum(spent[thread].waited_s for thread in threads))
        for name, threads in groups.items()
    }


def table(cell: Cell, turns: Mapping[tuple[int, int], Sequence[Turn]]) -> str:
    """Returns a row per load: medians over the rounds, `on a core + waiting for one`."""
    groups = (LOOP, PASSES, OTHERS)
    heads = (str(cell), "texts/s", "p50, ms", *(f"{name}, ms/text" for name in groups), "client", "idle")
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for (size, callers), own in turns.items():
        parts = [
            f"{median(one.ran_ms[name] for one in own):.3f} + {median(one.waited_ms[name] for one in own):.3f}"
            for name in groups
        ]
        lines.append(
            f"| {size} × {callers} | {median(one.texts_per_s for one in own):,.0f} "
            f"| {median(one.p50_ms for one in own):.2f} | {' | '.join(parts)} "
            f"| {median(one.client_ms for one in own):.3f} | {median(one.idle_cores for one in own):.2f} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
