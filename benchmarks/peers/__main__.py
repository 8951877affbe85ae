"""`python -m benchmarks.peers`: builds the peers, runs the rounds, writes JSON and SVG, prints the table."""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arguments import positive
from benchmarks.cells import prepare
from benchmarks.peers import report
from benchmarks.peers.contenders import BASE, Contender, choose, contenders
from benchmarks.peers.environments import HOME, ROOT, build, python_of, versions
from benchmarks.peers.model_folder import EXPORTER, model_folder
from benchmarks.peers.processes import Child, Failed
from benchmarks.peers.rounds import Reference, Results, estimate_s, run_round
from benchmarks.peers.servers import Bench, Plan, plan_of
from benchmarks.peers.workloads import Workload, corpora, parse_workloads
from engine.capabilities.platform import this_platform

JUDGED_TEXTS = 32
"""Texts of each corpus."""
_ALWAYS = {"encode", "tools"}
"""The environments of the reference vectors, and of the load client and the plot."""


def print_progress(sentence: str) -> None:
    """Progress."""
    print(f"{datetime.now(UTC):%H:%M:%S} {sentence}", file=sys.stderr, flush=True)


def main() -> int:
    """Returns 0; 3 for a usage error; 5 when nothing was measured or the vectors of an fp32 contender are not fp32."""
    parser = _parser()
    asked = parser.parse_args()
    if asked.report:
        results = json.loads(asked.report.read_text("utf-8"))
        return _show(results, asked.base, asked.report.with_suffix(".svg"))
    try:
        workloads = parse_workloads(asked.workloads)
        chosen = choose(contenders(this_platform()), asked.only, asked.base)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all processes are stopped
    minutes = estimate_s(chosen, workloads, asked.rounds, asked.seconds) / 60
    print_progress(
        f"{len(chosen)} contenders, {len(workloads)} workloads, {asked.rounds} rounds of {asked.seconds:g} s: "
        f"about {minutes:.0f} minutes, and several more if environments are built or models are prepared first"
    )
    try:
        bench, reference = _prepare(chosen)
    except (RuntimeError, Failed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 5
    return _run(asked, chosen, workloads, bench, reference)


def _run(
    asked: argparse.Namespace,
    chosen: Sequence[Contender],
    workloads: Sequence[Workload],
    bench: Bench,
    reference: Reference,
) -> int:
    results = Results()
    about = _about(chosen, workloads, bench, asked)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    for number in range(asked.rounds):
        try:
            run_round(number, chosen, workloads, asked.seconds, bench, reference, results, print_progress)
        except KeyboardInterrupt:
            print_progress("stopped: all processes have ended")
            return 130
        asked.out.write_text(json.dumps({**about, **asdict(results)}, indent=1), "utf-8")
        print_progress(f"round {number + 1} of {asked.rounds} is in {asked.out}")
    return _show({**about, **asdict(results)}, asked.base, asked.out.with_suffix(".svg"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--only", default="", metavar="NAMES", help="parts of names, separated by commas: `infinity,ours openvino int8`"
    )
    parser.add_argument("--base", default=BASE, metavar="NAME", help=f"base of the ratios  [default: {BASE}]")
    parser.add_argument("--workloads", default="", metavar="LIST", help="`32x4-short,1x32,long`  [default: all]")
    parser.add_argument("--rounds", type=positive(int), default=6, help="intervals need 2, the bootstrap needs 10")
    parser.add_argument(
        "--seconds", type=positive(float), default=2.0, help="of each turn, after a warm-up of half a second"
    )
    parser.add_argument(
        "--out", type=Path, default=HOME / "results.json", help="JSON file; the plot is written next to it as SVG"
    )
    parser.add_argument(
        "--report", type=Path, metavar="JSON", help="print the table and plot of an earlier run; measure nothing"
    )
    return parser


def _prepare(chosen: Sequence[Contender]) -> tuple[Bench, Reference]:
    """Prepares environments, artifacts, plans, texts and reference vectors. Raises RuntimeError or Failed."""
    peers = sorted({one.environment for one in chosen if one.environment} | _ALWAYS)
    if any(one.kind == "infinity" for one in chosen):
        peers = sorted({*peers, EXPORTER})
    build(peers, print_progress)
    folder = model_folder(print_progress) if EXPORTER in peers else HOME
    plans: dict[str, Plan] = {}
    for one in chosen:
        if one.cell is not None and one.what not in plans:
            print_progress(f"preparing {one.what}")
            prepare(one.cell)
            plans[one.what] = plan_of(one.cell)
    texts = corpora()
    path = HOME / "corpora.json"
    path.write_text(json.dumps(texts), "utf-8")
    sample_texts = tuple(text for name in texts for text in texts[name][:JUDGED_TEXTS])
    print_progress("computing the reference vectors with sentence-transformers")
    child = Child(python_of("encode"), "inside_encode", str(path))
    try:
        vectors = child.vectors(sample_texts)
    finally:
        child.stop()
    return Bench(path, folder, plans), Reference(sample_texts, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _about(
    chosen: Sequence[Contender], workloads: Sequence[Workload], bench: Bench, asked: argparse.Namespace
) -> dict[str, Any]:
    """Returns the conditions that the figures depend on."""
    facts = this_platform()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT)
    return {
        "schema_version": 1,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": {"name": facts.name, "cpu": facts.cpu_model, "cores": facts.cores, "isa": sorted(facts.isa)},
        "load_average": os.getloadavg(),
        "packages": {
            "ours": dict(facts.packages),
            **{name: versions(name) for name in sorted({one.environment for one in chosen} - {""})},
        },
        "settings": {"rounds": asked.rounds, "window_s": asked.seconds},
        "plans": {what: asdict(plan) for what, plan in bench.plans.items()},
        "workloads": [one.name for one in workloads],
        "contenders": {one.name: {"server": one.server, "fp32": one.fp32} for one in chosen},
    }


def _show(results: dict[str, Any], base: str, picture: Path) -> int:
    """Prints the table and draws the plot."""
    if base not in results["contenders"]:
        print(f"error: no {base!r} among {', '.join(results['contenders'])}: name one by --base", file=sys.stderr)
        return 3
    rows = report.rows(results, base)
    if not rows:
        print("error: nothing was measured; failures:", *results["failures"], sep="\n", file=sys.stderr)
        return 5
    print(report.markdown(rows, base))
    _draw(rows, base, picture)
    unlike = sorted({row.contender for row in rows if report.is_unlike_fp32(row)})
    for sentence in [*results["failures"], *(f"{name}: its vectors are not those of fp32" for name in unlike)]:
        print_progress(f"beware: {sentence}")
    return 5 if unlike else 0


def _draw(rows: Iterable[report.Row], base: str, picture: Path) -> None:
    command = [str(python_of("tools")), "-m", "benchmarks.peers.plot", base, str(picture)]
    done = subprocess.run(
        command, input=json.dumps(report.plotted(rows)), capture_output=True, text=True, check=False, cwd=ROOT
    )
    print_progress(f"the plot is {picture}" if done.returncode == 0 else f"no plot: {done.stderr[-300:]}")


if __name__ == "__main__":
    sys.exit(main())
