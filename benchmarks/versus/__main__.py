"""`python -m benchmarks.versus --base REV --other REV`: whether OTHER is slower or uses more memory."""

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock, Timeout

from benchmarks.arguments import positive
from benchmarks.peers.processes import Failed
from benchmarks.peers.workloads import corpora
from benchmarks.versus import report
from benchmarks.versus.engines import Cell, Plan, delete_stale_caches, parse_cells, prepare, tuned_plan
from benchmarks.versus.project import cores, cpu_model
from benchmarks.versus.report import BASE, CONTROL, LEAST_OF_A_ROW, LEAST_OF_ALL, OTHER
from benchmarks.versus.rounds import Comparison, Load, Results, clients, estimate_s, parse_loads, run_round
from benchmarks.versus.trees import PLACE, SetUpFailed, Tree, UnknownRevision, build, check_out, packages, tree_of

FIRST_BASE = "31acd2e"
EXIT_REGRESSION, EXIT_USAGE, EXIT_FAILED, EXIT_INTERRUPTED = 1, 3, 5, 130

_HELP = f"""Detects regressions of speed and memory between two revisions of this project.

Each revision has its own git worktree and virtual environment in .bench/versus/ (BENCH_HOME overrides .bench), set up
by its own setup-torch.sh and pyproject.toml, and reused by the next call. Every round starts the base, the other
revision and a second instance of the base (the A/A control, which shows the noise) from a warm artifact cache. They
take turns in random order under one load client of this checkout.

Both revisions serve with the plan that `engine tune` of the base measured once: instances, threads and batch limits.
The plan is fixed, because tuning is noisy. With --own-plans each revision tunes for itself.

The comparison fails when the whole 95 % interval of any row's ratio, memory included, lies below {LEAST_OF_A_ROW}, or
the geometric mean of speed is below {LEAST_OF_ALL}. Ratios are above 1 where the other revision is faster or
smaller; 1x1 compares the median latency, every other workload texts/s. Intervals come from paired rounds: a t interval
below ten, the BCa bootstrap from ten."""

_EPILOG = """exit codes:
  0 passes   1 fails   3 usage   5 a revision could not be set up, started or loaded   130 interrupted

examples:
  python -m benchmarks.versus --other .
  python -m benchmarks.versus --base v1.0 --other main --cells "onnx int8,onnx fp32" --workloads 1x1,32x4-long
  TORCH_SPEC=torch==2.13.0 python -m benchmarks.versus --other . --rounds 12 --json versus.json

to remove everything: delete .bench/versus, then git worktree prune"""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    base: str
    other: str
    cells: tuple[Cell, ...]
    loads: tuple[Load, ...]
    rounds: int
    seconds: float
    own_plans: bool
    seed: int
    json: Path | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exits with the code of this project for usage errors."""
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"error: {message}\n")


def parse(words: Sequence[str]) -> Options:
    """Parses the command line. Exits with 3 if it is invalid."""
    parser = _Parser(
        prog="python -m benchmarks.versus", description=_HELP, epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--base", default=FIRST_BASE, metavar="REV", help=f"the revision to compare with  [{FIRST_BASE}]"
    )
    parser.add_argument(
        "--other", default=".", metavar="REV", help="the revision to check; . is the working tree with its changes  [.]"
    )
    parser.add_argument(
        "--cells", default="onnx int8,openvino int8", metavar="LIST",
        help="BACKEND PRECISION [RECIPE], separated by commas  [onnx int8,openvino int8]",
    )  # fmt: skip
    parser.add_argument(
        "--workloads", default="1x1,1x32,32x4", metavar="LIST",
        help="texts per request x requests in flight, then -short, -mixed or -long, then -streamed  [1x1,1x32,32x4]",
    )  # fmt: skip
    parser.add_argument("--rounds", type=positive(int), default=6, metavar="N", help="intervals need 2  [6]")
    parser.add_argument(
        "--seconds",
        type=positive(float),
        default=3.0,
        metavar="S",
        help="of each turn, after a warm-up of half a second  [3]",
    )
    parser.add_argument(
        "--own-plans", action="store_true", help="let each revision tune for itself, so that tuning is compared too"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the random order  [1]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all samples; rewritten after each round")
    found = vars(parser.parse_args(words))
    try:
        found["cells"] = parse_cells(found["cells"])
        found["loads"] = parse_loads(found.pop("workloads"))
    except ValueError as error:
        parser.error(str(error))
    return Options(**found)


def print_progress(sentence: str) -> None:
    """Progress."""
    print(f"{datetime.now(UTC):%H:%M:%S} {sentence}", file=sys.stderr, flush=True)


def main() -> int:
    """Runs the comparison. The exit codes are in --help."""
    asked = parse(sys.argv[1:])
    try:
        base, other = tree_of(asked.base), tree_of(asked.other)
    except UnknownRevision as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all processes are stopped
    print_progress(
        f"{other.name} against {base.name}: {len(asked.cells)} cells, {len(asked.loads)} workloads, {asked.rounds} "
        f"rounds of {asked.seconds:g} s: {_about(_remaining_s(asked, asked.rounds))}, and several minutes more if "
        "environments, artifacts or plans are made first"
    )
    PLACE.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(PLACE / ".lock", timeout=0):
            return _compare(asked, base, other)
    except Timeout:
        print(f"error: another comparison is running in {PLACE}: wait for it", file=sys.stderr)
    except (SetUpFailed, Failed, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print_progress("stopped: all processes have ended")
        return EXIT_INTERRUPTED
    return EXIT_FAILED


def _compare(asked: Options, base: Tree, other: Tree) -> int:
    """Runs the comparison. Raises SetUpFailed or Failed after stopping all processes."""
    for tree in (base, other):
        check_out(tree, print_progress)
    build(base, None, print_progress)
    build(other, base, print_progress)
    comparison = Comparison(
        {BASE: base, OTHER: other, CONTROL: base}, _plans(asked, base), asked.loads, asked.seconds, _corpora()
    )  # fmt: skip
    serving = _prepared(comparison)
    facts = {**_facts(asked, comparison), "serving": serving}
    results, chance, began_s = Results(), random.Random(asked.seed), time.monotonic()  # noqa: S311 - an order, no secret
    with clients(comparison) as loading:
        for number in range(asked.rounds):
            left_s = _remaining_s(asked, asked.rounds - number)
            if number:
                left_s = (time.monotonic() - began_s) / number * (asked.rounds - number)
            print_progress(f"round {number + 1} of {asked.rounds}: {_about(left_s)} left")
            run_round(number, comparison, loading, results, chance, print_progress)
            _write(asked.json, {**facts, **asdict(results)})
    return _show(asked.json, facts, results, base, other)


def _plans(asked: Options, base: Tree) -> Mapping[Cell, Plan | None]:
    delete_stale_caches(base)
    plans: dict[Cell, Plan | None] = dict.fromkeys(asked.cells)
    for cell in () if asked.own_plans else asked.cells:
        print_progress(f"reading the plan of {base.name} for {cell}: a minute, once")
        plans[cell] = plan = tuned_plan(base, cell)
        print_progress(f"  both serve {cell} with {' '.join(plan.flags)}")
    return plans


def _prepared(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Prepares the artifacts and returns what each side serves, by cell. Raises Failed."""
    base, other = comparison.trees[BASE], comparison.trees[OTHER]
    if other.place != base.place:
        delete_stale_caches(other)
    serving: dict[str, dict[str, Any]] = {}
    for cell, plan in comparison.plans.items():
        for side, tree in ((BASE, base), (OTHER, other)):
            print_progress(f"preparing {cell} of {tree.name}: a minute if there is no artifact")
            serving.setdefault(str(cell), {})[side] = dict(prepare(tree, cell, plan))
    return serving


def _corpora() -> Path:
    path = PLACE / "corpora.json"
    path.write_text(json.dumps(corpora()), "utf-8")
    return path


def _facts(asked: Options, comparison: Comparison) -> dict[str, Any]:
    """Returns the conditions that the figures depend on."""
    trees = {side: comparison.trees[side] for side in (BASE, OTHER)}
    installed = {side: packages(tree) for side, tree in trees.items()}
    differ = sorted(set(installed[BASE]) ^ set(installed[OTHER]))
    if differ:
        print_progress(f"warning: these packages are not in both environments: {', '.join(differ)}")
    return {
        "schema_version": 1,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "trees": {
            side: {"asked": tree.asked, "commit": tree.commit, "changed": tree.changed} for side, tree in trees.items()
        },
        "machine": {"cpu": cpu_model(), "cores": cores()},
        "load_average": os.getloadavg(),
        "packages": installed,
        "settings": {
            "rounds": asked.rounds,
            "seconds": asked.seconds,
            "seed": asked.seed,
            "own_plans": asked.own_plans,
        },
        "plans": {str(cell): asdict(plan) if plan else None for cell, plan in comparison.plans.items()},
    }


def _show(path: Path | None, facts: Mapping[str, Any], results: Results, base: Tree, other: Tree) -> int:
    """Prints the tables and the verdict. Returns 0 if it passes, else 1."""
    rows, memory = report.rows(results.samples), report.memory_rows(results.memory)
    means = report.means(results.samples, results.memory)
    passes, line = report.verdict(rows, memory, means)
    print(f"other: {other.name}; base: {base.name}; {cpu_model()}, {cores()} cores for engine and client\n")
    print(f"{report.markdown(rows, memory, means)}\n\n{line}")
    found = {
        "rows": [asdict(row) for row in rows],
        "memory_rows": [asdict(row) for row in memory],
        "means": asdict(means),
        "passes": passes,
        "verdict": line,
    }
    _write(path, {**facts, **asdict(results), **found})
    return 0 if passes else EXIT_REGRESSION


def _write(path: Path | None, found: Mapping[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1), "utf-8")


def _remaining_s(asked: Options, rounds: int) -> float:
    return estimate_s(rounds, len(asked.cells), len(asked.loads), asked.seconds)


def _about(seconds: float) -> str:
    return f"about {seconds / 60:.0f} minutes" if seconds >= 90 else f"about {seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
