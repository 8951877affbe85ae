"""The engine of a side: its plan, its flags, its process. It is used only through its public commands."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.peers.processes import START_WITHIN_S, Failed, Process
from benchmarks.versus.project import cores, cpu_model
from benchmarks.versus.trees import SetUpFailed, Tree, run

PREPARE_WITHIN_S = 900.0
"""The first start exports and quantises the model."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A backend at a precision on the CPU; an empty recipe is the default of the revision."""

    backend: str
    precision: str
    recipe: str = ""

    def __str__(self) -> str:
        return " ".join(word for word in (self.backend, self.precision, self.recipe) if word)

    @property
    def flags(self) -> tuple[str, ...]:
        """Its flags for `engine` commands."""
        words = ("--backend", self.backend, "--precision", self.precision, "--device", "cpu")
        return (*words, "--recipe", self.recipe) if self.recipe else words


@dataclass(frozen=True, slots=True)
class Plan:
    """A serving plan, without the fixed cost of a pass, which has no flag."""

    instances: int
    threads: int
    max_batch_tokens: int
    max_batch_items: int

    @property
    def flags(self) -> tuple[str, ...]:
        """Its flags for `engine serve`, which then does not tune."""
        return (
            "--instances", str(self.instances), "--threads", str(self.threads),
            "--max-batch-tokens", str(self.max_batch_tokens), "--max-batch-items", str(self.max_batch_items),
            "--no-tune",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Engine:
    """A serving process. `effective` is the deployment in its ready line."""

    process: Process
    address: str
    effective: Mapping[str, Any]


def parse_cells(words: str) -> tuple[Cell, ...]:
    """Parses `onnx int8,openvino int8 RECIPE`. Raises ValueError with the expected format."""
    cells = dict.fromkeys(_cell(word) for word in words.split(",") if word.strip())
    if not cells:
        raise ValueError("no cell to compare: write for example 'onnx int8,openvino int8'")
    return tuple(cells)


def _cell(words: str) -> Cell:
    parts = words.split()
    if len(parts) not in (2, 3) or any(part.startswith("-") for part in parts):
        raise ValueError(
            f"{words.strip()!r} is not a cell: write BACKEND PRECISION [RECIPE], with commas between cells"
        )
    return Cell(*parts)


def serve_flags(cell: Cell, plan: Plan | None, *, lifeline: bool) -> tuple[str, ...]:
    """Returns the flags of `engine serve` on a free port. Without a plan the engine tunes on its first start.

    `lifeline`: whether the revision reads stdin only with `--lifeline stdin`. Older ones always do.
    """
    return (
        "serve", "--host", "127.0.0.1", "--port", "0", *(("--lifeline", "stdin") if lifeline else ()), "--strict",
        *cell.flags, *(plan.flags if plan else ()),
    )  # fmt: skip


def has_lifeline_flag(serve_help: str) -> bool:
    """Returns whether the output of `engine serve --help` lists `--lifeline`."""
    return "--lifeline" in serve_help


@cache
def _serve_help(tree: Tree) -> str:
    """Raises SetUpFailed."""
    return run([str(tree.engine), "serve", "--help"], START_WITHIN_S, cwd=tree.source)


def cache_of(tree: Tree, *, tuned: bool) -> Path:
    """Returns the cache folder of a revision.

    A cached plan contains the cost of a pass, which no flag sets, and the engine reads it even when flags are given. So
    engines with a given plan use a separate cache without tuned plans.
    """
    return tree.place / ("cache-tuned" if tuned else "cache")


def delete_stale_caches(tree: Tree) -> None:
    """Deletes caches of other sources, because the key of an artifact does not include the code that prepares it.

    Only the sources of a working tree change. With uncommitted changes they always count as different.
    """
    stamp = tree.place / ".caches-of"
    if tree.changed or not stamp.exists() or stamp.read_text("utf-8") != tree.commit:
        for tuned in (False, True):
            shutil.rmtree(cache_of(tree, tuned=tuned), ignore_errors=True)
    stamp.write_text("" if tree.changed else tree.commit, "utf-8")


def start(tree: Tree, cell: Cell, plan: Plan | None, within_s: float = START_WITHIN_S) -> Engine:
    """Starts an engine and waits until it is ready. Raises Failed after stopping it."""
    extra = {"PYTHONPATH": "", "EMBEDCONSOLE_CACHE": str(cache_of(tree, tuned=plan is None))}
    try:
        words = serve_flags(cell, plan, lifeline=has_lifeline_flag(_serve_help(tree)))
        process = Process([str(tree.engine), *words], cwd=tree.source, extra=extra)
    except (OSError, SetUpFailed) as error:
        raise Failed(f"{tree.name} {cell}: cannot be started: {error}") from error
    try:
        ready = process.read_line(within_s)
        effective = dict(ready["effective"])
        if plan and (effective["instances"], effective["threads"]) != (plan.instances, plan.threads):
            raise Failed(f"serves with {effective['instances']} × {effective['threads']}, not as it was told")
        return Engine(process, str(ready["address"]), effective)
    except (Failed, KeyError, ValueError) as error:
        process.stop()
        raise Failed(f"{tree.name} {cell}: {error}") from error
    except BaseException:
        process.stop()
        raise


def prepare(tree: Tree, cell: Cell, plan: Plan | None) -> Mapping[str, Any]:
    """Starts and stops the engine, so that its artifact is cached. Returns what it serves. Raises Failed."""
    engine = start(tree, cell, plan, PREPARE_WITHIN_S)
    engine.process.stop()
    return engine.effective


def tuned_plan(tree: Tree, cell: Cell) -> Plan:
    """Returns the plan of `engine tune` of this revision, measured or cached. Raises Failed."""
    path = tree.place / "plans.json"
    known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    key = f"{tree.commit} {cell} {cores()} {cpu_model()}"
    if tree.changed or key not in known:
        cache = str(cache_of(tree, tuned=True))
        command = [str(tree.engine), "tune", *cell.flags, "--json"]
        try:
            said = run(command, PREPARE_WITHIN_S, {"EMBEDCONSOLE_CACHE": cache, "HF_HUB_OFFLINE": "1"}, tree.source)
        except (SetUpFailed, OSError) as error:
            raise Failed(str(error)) from error
        known[key] = asdict(plan_in(said))
        partial = path.with_name(f"plans.{os.getpid()}.json")
        partial.write_text(json.dumps(known, indent=1), "utf-8")
        partial.replace(path)
    return Plan(**known[key])


def plan_in(said: str) -> Plan:
    """Returns the only plan in the output of `engine tune --json`. Raises Failed for any other output."""
    try:
        (row,) = json.loads(said)["plans"]
        return Plan(row["instances"], row["threads"], row["max_batch_tokens"], row["max_batch_items"])
    except (KeyError, TypeError, ValueError) as error:
        raise Failed(f"engine tune did not print a plan: {said[-300:]!r}") from error
