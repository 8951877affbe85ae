"""Compares all cells of this machine: `python -m benchmarks.cells table`, `python -m benchmarks.cells switches`.

`table` starts each cell in its own process, loads it at batch 32 x concurrency 4 with the console's load generator, and
measures its fidelity. Each round has a new random order; figures are medians over the rounds. `switches` switches
repeatedly through all cells in one engine under load.
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.acceptance import texts_of
from engine.api import embed_pb2
from engine.api.client import EmbedClient
from engine.backends.base import Cell
from engine.capabilities.platform import this_platform
from engine.capabilities.resolve import report_cells
from engine.capabilities.rules import CellState
from tests.support.engine_process import EngineProcess

BATCH, CONCURRENCY = 32, 4
VISIT_S = 2.0
SLOW_TAKES = 4.0
"""Slow cells need a longer window to answer enough requests."""


def runnable(device: str) -> dict[Cell, float]:
    """Returns the cells that run as requested by the rules, one per recipe, with the factor of their window."""
    reports = [
        report for report in report_cells(this_platform()) if report.runs_as_asked and report.asked.device == device
    ]
    return {report.asked: SLOW_TAKES if report.state is CellState.SLOW else 1.0 for report in reports}


def flags(cell: Cell, model: str = "") -> tuple[str, ...]:
    """Returns the cell as `engine` flags; the bundled model by default."""
    words = ("--backend", cell.backend, "--precision", cell.precision, "--device", cell.device)
    return (*words, *(("--recipe", cell.recipe) if cell.recipe else ()), *(("--model", model) if model else ()))


def name(cell: Cell) -> str:
    """Returns its name in a table."""
    return f"{cell.backend} {cell.precision} {cell.recipe}"


def print_progress(sentence: str) -> None:
    """Progress."""
    print(sentence, file=sys.stderr, flush=True)


def prepare(cell: Cell, model: str = "") -> float:
    """Returns the seconds until its artifact is ready, which is at once if it exists. Raises RuntimeError."""
    started_s = time.perf_counter()
    command = [sys.executable, "-m", "engine.cli", "export", *flags(cell, model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name(cell)} cannot be prepared: {done.stderr.splitlines()[-1:]}")
    return time.perf_counter() - started_s


def visit(cell: Cell, model: str, duration_s: float, *, with_fidelity: bool) -> dict[str, Any]:
    """Runs one process of this cell: start, load, and fidelity if requested."""
    engine = EngineProcess("--strict", *flags(cell, model)).wait_ready()
    try:
        command = [
            sys.executable, "-m", "console.cli", "run", "--connect", engine.address, "--batch", str(BATCH),
            "--concurrency", str(CONCURRENCY), "--duration", f"{duration_s:g}s", "--json",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.stdout:
            raise RuntimeError(f"{name(cell)}: {done.stderr[-500:]}")
        run = json.loads(done.stdout)
        found = {
            "load_s": engine.ready_after_s,
            "texts_per_s": run["throughput"]["texts_per_s"] or 0.0,
            "rss_mb": run["server"]["rss_bytes"] / 1e6,
            "errors": sum(run["errors"].values()),
            "effective": engine.ready["effective"]["precision"],
            "evidence": engine.ready["evidence"].partition(";")[0],
        }
        return {**found, **asyncio.run(fidelity(engine.address))} if with_fidelity else found
    finally:
        engine.stop()


async def fidelity(address: str) -> dict[str, Any]:
    """Returns the last event of MeasureFidelity."""
    async with EmbedClient(address) as client:
        async for event in client.control.MeasureFidelity(embed_pb2.MeasureFidelityRequest(), timeout=900):
            last = event
    return {
        "n": last.n, "cosine_mean": last.cosine.mean, "cosine_p1": last.cosine.p1, "batched_mean": last.batched.mean,
        "overlap_at_10": last.overlap_at_10, "spearman": last.spearman,
        "grade": embed_pb2.FidelityGrade.Name(last.grade).lower(),
    }  # fmt: skip


def table(cells: Mapping[Cell, float], model: str, rounds: int, duration_s: float) -> list[dict[str, Any]]:
    """Returns a row per cell; speed, memory and load time are medians over the rounds."""
    prepared_s = {}
    for cell in cells:
        print_progress(f"preparing {name(cell)}")
        prepared_s[cell] = prepare(cell, model)
    visits: defaultdict[Cell, list[dict[str, Any]]] = defaultdict(list)
    for number in range(rounds):
        order = random.sample(list(cells), len(cells))
        for cell in order:
            print_progress(f"round {number + 1} of {rounds}: {name(cell)}")
            visits[cell].append(visit(cell, model, duration_s * cells[cell], with_fidelity=number == 0))
    rows = []
    for cell in cells:
        medians = {
            key: statistics.median(one[key] for one in visits[cell]) for key in ("load_s", "texts_per_s", "rss_mb")
        }
        errors = sum(one["errors"] for one in visits[cell])
        rows.append({"cell": name(cell), **visits[cell][0], **medians, "errors": errors, "rounds": rounds})
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the markdown table of docs/performance.md."""
    fp32 = max((row["texts_per_s"] for row in rows if row["effective"] == "fp32"), default=0.0)
    lines = [
        (
            "| cell and recipe | texts/s | × best fp32 | RSS MB | ready after, s | cosine mean / p1 | overlap@10 "
            "| grade | proof of what ran |"
        ),
        "|---|---:|---:|---:|---:|---|---:|---|---|",
    ]
    lines += [
        f"| {row['cell']} | {_speed(row, fp32)} | {row['rss_mb']:.0f} | {row['load_s']:.1f} | "
        f"{row['cosine_mean']:.5f} / {row['cosine_p1']:.5f} | {row['overlap_at_10']:.3f} | {row['grade']} | "
        f"{row['evidence']} |"
        for row in rows
    ]
    return "\n".join(lines)


def _speed(row: dict[str, Any], fp32: float) -> str:
    """Returns texts/s and the ratio; dashes if there were too few responses for a rate."""
    rate = row["texts_per_s"]
    return f"{rate:,.0f} | {rate / fp32:.2f}" if rate and fp32 else "– | –"


async def switches(cells: Sequence[Cell], model: str, count: int) -> dict[str, Any]:
    """Runs `count` switches through all cells under load: errors, and each cell's memory at each visit."""
    texts = texts_of("short", 512, seed=3)
    engine = EngineProcess(*flags(cells[-1], model)).wait_ready()
    rss: defaultdict[str, list[int]] = defaultdict(list)
    threads: list[int] = []
    seen: Counter[str] = Counter()
    running = True
    try:
        async with EmbedClient(engine.address) as client:

            async def call(first: int) -> None:
                while running:
                    first = (first + BATCH) % (len(texts) - BATCH)
                    request = embed_pb2.EmbedRequest(texts=texts[first : first + BATCH])
                    seen[(await client.embedder.Embed(request, timeout=120)).deployment.precision] += 1

            callers = [asyncio.create_task(call(number * 7)) for number in range(CONCURRENCY)]
            for number in range(count):
                cell = cells[number % len(cells)]
                target = embed_pb2.Deployment(
                    backend=cell.backend, precision=cell.precision, device=cell.device, recipe=cell.recipe
                )
                async for event in client.control.Switch(embed_pb2.SwitchRequest(target=target, strict=True)):
                    last = event
                effective = last.effective
                if (effective.backend, effective.precision) != (cell.backend, cell.precision):
                    raise RuntimeError(f"{name(cell)} became {effective.backend} {effective.precision}")
                await asyncio.sleep(VISIT_S)
                frame = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest())))
                rss[name(cell)].append(round(frame.rss_bytes / 1e6))
                threads.append(frame.threads)
                print_progress(
                    f"switch {number + 1} of {count}: {name(cell)}, {rss[name(cell)][-1]} MB, {frame.threads} threads"
                )
            running = False
            outcomes = await asyncio.gather(*callers, return_exceptions=True)
            frame = await anext(aiter(client.control.Watch(embed_pb2.WatchRequest())))
    finally:
        engine.stop()
    failed = sum(isinstance(outcome, BaseException) for outcome in outcomes) + sum(frame.counters.errors.values())
    return {
        "switches": count,
        "requests": sum(seen.values()),
        "failed": failed,
        "rss_mb": rss,
        "third_over_second": {cell: round(sizes[2] / sizes[1], 3) for cell, sizes in rss.items() if len(sizes) > 2},
        "os_threads": threads,
    }


def main() -> None:
    """Prints the markdown table, or the JSON object of the switches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("table", "switches"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="", help="a folder or a hub id (default: the bundled model)")
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="only cells whose name contains one of these, separated by commas"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=float, default=5.0, metavar="S")
    parser.add_argument("--count", type=int, default=50, help="switches")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures of the table as JSON")
    asked = parser.parse_args()
    words = [word.strip() for word in asked.only.split(",") if word.strip()]
    all_cells = runnable(asked.device)
    cells = {cell: takes for cell, takes in all_cells.items() if not words or any(word in name(cell) for word in words)}
    if asked.what == "switches":
        for cell in cells:
            prepare(cell, asked.model)
        print(json.dumps(asyncio.run(switches(list(cells), asked.model, asked.count))))
        return
    rows = table(cells, asked.model, asked.rounds, asked.duration)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1), "utf-8")
    print(markdown(rows))


if __name__ == "__main__":
    main()
