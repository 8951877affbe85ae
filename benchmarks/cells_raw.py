"""Measures all cells of this machine without server or scheduler: evidence, fidelity, speed, memory, load time.

    python -m benchmarks.cells_raw [--device cpu] [--model FOLDER] [--only torch,onnx/int8] [--rounds 5] [--seconds 1.0]

Each cell has a child process. Speed is measured in rounds; in each, every cell has one turn in a new random order, so
that noise affects all cells equally. The ratio is the median over the rounds of the ratio to onnx fp32
(torch fp32 on a GPU).
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from benchmarks.bare import prepared, texts_per_s
from engine.artifacts.calibration import default_calibration, evaluation_texts
from engine.backends import backend
from engine.backends.base import Cell, LoadedModel
from engine.backends.recipes import RECIPES
from engine.errors import EngineError
from engine.models.resolve import ModelFiles, resolve_model
from engine.models.tokenizer import Tokenizer

INSTANCES, THREADS, BATCH = 2, 1, 32
SHORT_WORDS = (5, 12)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table."""

    cell: Cell
    effective: str
    evidence: str
    cosine_mean: float
    cosine_p1: float
    load_s: float
    rss_mb: float


class Child:
    """A process that runs one cell and answers commands, one JSON line each."""

    def __init__(self, cell: Cell, model: str) -> None:
        self.cell = cell
        command = [sys.executable, "-m", "benchmarks.cells_raw", "--child", json.dumps(asdict(cell)), "--model", model]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._orders: Any = self._process.stdin  # both are pipes
        self._answers: Any = self._process.stdout

    def ask(self, **order: object) -> Any:
        """Returns the child's answer. Raises EngineError with its error message, or when it died."""
        print(json.dumps(order), file=self._orders, flush=True)
        line = self._answers.readline()
        answer = json.loads(line) if line else {"error": f"the process ended ({self._process.wait()})"}
        if isinstance(answer, dict) and "error" in answer:
            raise EngineError(answer["error"])
        return answer

    def close(self) -> None:
        """Terminates the process and waits for it."""
        self._process.kill()
        self._process.communicate()


def main() -> int:
    """Prints the markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="", help="a folder or a hub id (default: the bundled model)")
    parser.add_argument(
        "--only", default="", help="backend, backend/precision or backend/precision/recipe, separated by commas"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return serve(Cell(**json.loads(asked.child)), asked.model)
    cells = [
        Cell(backend=one.backend, precision=one.precision, recipe=one.name, device=asked.device)
        for one in RECIPES
        if one.device == asked.device.partition(":")[0]
    ]
    base = Cell(
        backend="onnx" if asked.device == "cpu" else "torch", precision="fp32", recipe="plain", device=asked.device
    )
    exact = Cell(backend="torch", precision="fp32", recipe="plain", device=asked.device)
    wanted = [cell for cell in cells if cell in (base, exact) or _is_wanted(cell, asked.only)]
    rows, children = [], {}
    with tempfile.TemporaryDirectory() as place:
        reference = str(Path(place) / "reference.npy")
        for cell in sorted(wanted, key=lambda cell: cell != exact):
            child = Child(cell, asked.model)
            try:
                prepared_s = _prepare(cell, asked.model)
                rows.append(Row(cell, **child.ask(what="load"), **child.ask(what="fidelity", reference=reference)))
                children[cell] = child
                print(f"{_name(cell)}: prepared in {prepared_s:.1f} s", file=sys.stderr)
            except EngineError as error:
                child.close()
                print(f"{_name(cell)}: cannot run here: {error}", file=sys.stderr)
        speeds = _interleaved(children, asked.rounds, asked.seconds)
        rows = [Row(**{**_fields(row), "rss_mb": children[row.cell].ask(what="rss")}) for row in rows]
    for child in children.values():
        child.close()
    _print(rows, speeds, base)
    return 0


def _fields(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Row.__dataclass_fields__}


def _is_wanted(cell: Cell, only: str) -> bool:
    return not only or any(f"{_name(cell).replace(' ', '/')}/".startswith(f"{part}/") for part in only.split(","))


def _name(cell: Cell) -> str:
    return f"{cell.backend} {cell.precision} {cell.recipe}"


def _prepare(cell: Cell, model: str) -> float:
    started_s = time.monotonic()
    prepared(resolve_model(model or None), cell)
    return time.monotonic() - started_s


def _interleaved(children: dict[Cell, Child], rounds: int, seconds: float) -> dict[Cell, list[float]]:
    speeds: dict[Cell, list[float]] = {cell: [] for cell in children}
    order = random.Random(1)  # noqa: S311 - an order, not a secret
    for _ in range(rounds):
        for cell in order.sample(list(children), len(children)):
            speeds[cell].append(children[cell].ask(what="round", seconds=seconds))
    return speeds


def _print(rows: list[Row], speeds: dict[Cell, list[float]], base: Cell) -> None:
    print("| cell | effective | texts/s | × base | cosine mean | p1 | RSS MB | load s | evidence |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        own = speeds[row.cell]
        ratio = median(mine / theirs for mine, theirs in zip(own, speeds[base], strict=True))
        print(
            f"| {_name(row.cell)} | {row.effective} | {median(own):,.0f} | {ratio:.2f} | {row.cosine_mean:.5f} "
            f"| {row.cosine_p1:.5f} | {row.rss_mb:.0f} | {row.load_s:.2f} | {row.evidence} |"
        )


def serve(cell: Cell, named: str) -> int:
    """Runs the child: one JSON answer per line."""
    model: LoadedModel | None = None
    files = resolve_model(named or None)
    texts = _token_ids(files)
    for line in sys.stdin:
        order = json.loads(line)
        answer: object
        try:
            if order["what"] == "load":
                model, answer = _load(cell, files)
            elif model is None:
                answer = {"error": "load first"}
            elif order["what"] == "fidelity":
                answer = _fidelity(model, texts["evaluation"], Path(order["reference"]))
            elif order["what"] == "round":
                answer = _round(model, texts["short"], order["seconds"])
            else:
                answer = psutil.Process().memory_info().rss / 1e6
        except EngineError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)
    return 0


def _token_ids(files: ModelFiles) -> dict[str, list[list[int]]]:
    tokenizer = Tokenizer.load(files)
    words = " ".join(default_calibration().texts).split()
    pick = random.Random(0)  # noqa: S311 - a corpus, not a secret
    starts = [pick.randrange(len(words) - SHORT_WORDS[1]) for _ in range(10 * BATCH)]
    short = [" ".join(words[start : start + pick.randint(*SHORT_WORDS)]) for start in starts]
    ids = {"short": short, "evaluation": list(evaluation_texts())}
    return {name: [list(text.ids) for text in tokenizer.encode(texts)] for name, texts in ids.items()}


def _load(cell: Cell, files: ModelFiles) -> tuple[LoadedModel, dict[str, Any]]:
    artifact = prepared(files, cell)
    started_s = time.monotonic()
    model = backend(cell.backend).load(artifact, files.path, cell, THREADS)
    load_s = time.monotonic() - started_s
    return model, {"effective": model.precision, "evidence": model.evidence, "load_s": load_s, "rss_mb": 0.0}


def _fidelity(model: LoadedModel, texts: list[list[int]], reference: Path) -> dict[str, float]:
    """Returns the fidelity of one text at a time. The first cell is fp32 torch, which writes the reference."""
    run = model.executor(THREADS)
    unit = np.concatenate([run([text]).in_order().unit for text in texts])
    if not reference.exists():
        np.save(reference, unit)
    cosines = np.einsum("nd,nd->n", unit, np.load(reference))
    return {"cosine_mean": float(cosines.mean()), "cosine_p1": float(np.percentile(cosines, 1))}


def _round(model: LoadedModel, texts: list[list[int]], seconds: float) -> float:
    """Returns the texts/s of all instances together; batches are sorted by length."""
    ordered = sorted(texts, key=len)
    batches = [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]
    return texts_per_s(lambda: model.executor(THREADS), [cycle(batches) for _ in range(INSTANCES)], seconds)


if __name__ == "__main__":
    sys.exit(main())
