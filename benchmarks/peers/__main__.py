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
from benchmarks.peers.rounds import Judge, Results, estimate_s, run_round
from benchmarks.peers.servers import Bench, Plan, plan_of
from benchmarks.peers.workloads import Workload, corpora, parse_workloads
from engine.capabilities.platform import this_platform

JUDGED_TEXTS = 32
"""Of each corpus."""
_ALWAYS = {"encode", "tools"}
"""Who judges the vectors, and what loads and draws."""


def say(sentence: str) -> None:
    """Progress."""
    print(f"{datetime.now(UTC):%H:%M:%S} {sentence}", file=sys.stderr, flush=True)


def main() -> int:
    """0; 3 for a usage error; 5 when nobody could be measured or an fp32 contender's vectors are not fp32's."""
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is ended
    minutes = estimate_s(chosen, workloads, asked.rounds, asked.seconds) / 60
    say(
        f"{len(chosen)} contenders, {len(workloads)} workloads, {asked.rounds} rounds of {asked.seconds:g} s: "
        f"about {minutes:.0f} minutes, and several more where peers are built or models prepared first"
    )
    try:
        bench, judge = _prepare(chosen)
    except (RuntimeError, Failed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 5
    return _run(asked, chosen, workloads, bench, judge)


def _run(
    asked: argparse.Namespace, chosen: Sequence[Contender], workloads: Sequence[Workload], bench: Bench, judge: Judge
) -> int:
    results = Results()
    about = _about(chosen, workloads, bench, asked)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    for number in range(asked.rounds):
        try:
            run_round(number, chosen, workloads, asked.seconds, bench, judge, results, say)
        except KeyboardInterrupt:
            say("stopped: everything started has been ended")
            return 130
        asked.out.write_text(json.dumps({**about, **asdict(results)}, indent=1), "utf-8")
        say(f"round {number + 1} of {asked.rounds} is in {asked.out}")
    return _show({**about, **asdict(results)}, asked.base, asked.out.with_suffix(".svg"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--only", default="", metavar="NAMES", help="`infinity,ours openvino int8`: parts of names")
    parser.add_argument("--base", default=BASE, metavar="NAME", help=f"whom ratios are against  [default: {BASE}]")
    parser.add_argument("--workloads", default="", metavar="LIST", help="`32x4-short,1x32,long`  [default: all]")
    parser.add_argument("--rounds", type=positive(int), default=6, help="intervals need two, bootstraps ten")
    parser.add_argument("--seconds", type=positive(float), default=2.0, help="of each turn, after half a second warm")
    parser.add_argument("--out", type=Path, default=HOME / "results.json", help="JSON; the plot goes beside it as SVG")
    parser.add_argument("--report", type=Path, metavar="JSON", help="no run: the table and plot of an earlier one")
    return parser


def _prepare(chosen: Sequence[Contender]) -> tuple[Bench, Judge]:
    """Environments, artifacts, plans, texts, and the vectors to judge by. Raises RuntimeError or Failed."""
    peers = sorted({one.environment for one in chosen if one.environment} | _ALWAYS)
    if any(one.kind == "infinity" for one in chosen):
        peers = sorted({*peers, EXPORTER})
    build(peers, say)
    folder = model_folder(say) if EXPORTER in peers else HOME
    plans: dict[str, Plan] = {}
    for one in chosen:
        if one.cell is not None and one.what not in plans:
            say(f"preparing {one.what}")
            prepare(one.cell)
            plans[one.what] = plan_of(one.cell)
    texts = corpora()
    path = HOME / "corpora.json"
    path.write_text(json.dumps(texts), "utf-8")
    judged = tuple(text for name in texts for text in texts[name][:JUDGED_TEXTS])
    say("asking sentence-transformers for the vectors that all are judged by")
    child = Child(python_of("encode"), "inside_encode", str(path))
    try:
        vectors = child.vectors(judged)
    finally:
        child.stop()
    return Bench(path, folder, plans), Judge(judged, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _about(
    chosen: Sequence[Contender], workloads: Sequence[Workload], bench: Bench, asked: argparse.Namespace
) -> dict[str, Any]:
    """What the figures depend on besides chance."""
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
    """Prints the table, draws the plot."""
    if base not in results["contenders"]:
        print(f"error: no {base!r} among {', '.join(results['contenders'])}: name one by --base", file=sys.stderr)
        return 3
    rows = report.rows(results, base)
    if not rows:
        print("error: nothing was measured; what failed:", *results["failures"], sep="\n", file=sys.stderr)
        return 5
    print(report.markdown(rows, base))
    _draw(rows, base, picture)
    unlike = sorted({row.contender for row in rows if report.is_unlike_fp32(row)})
    for sentence in [*results["failures"], *(f"{name}: its vectors are not fp32's" for name in unlike)]:
        say(f"beware: {sentence}")
    return 5 if unlike else 0


def _draw(rows: Iterable[report.Row], base: str, picture: Path) -> None:
    command = [str(python_of("tools")), "-m", "benchmarks.peers.plot", base, str(picture)]
    done = subprocess.run(
        command, input=json.dumps(report.plotted(rows)), capture_output=True, text=True, check=False, cwd=ROOT
    )
    say(f"the plot is {picture}" if done.returncode == 0 else f"no plot: {done.stderr[-300:]}")


if __name__ == "__main__":
    sys.exit(main())
