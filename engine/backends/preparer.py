"""The preparer child: exports, verifies and records reference vectors, so that the serving process never has to.

Started by prepare.py with one json line on stdin, whose end is the order to stop; progress goes out as json lines.
"""

import _thread
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from engine.backends.artifacts import ArtifactStore, about
from engine.backends.base import Cell
from engine.backends.reference import REFERENCE_TEXTS, ReferenceVectors
from engine.errors import EngineError, ModelError
from engine.model import ModelFiles, model_at
from engine.tokenize import Tokenizer, tokenizer_path

_STOP_GRACE_S = 5.0


class Phases:
    """Progress lines: `done` of `total` steps are finished, and `name` is the one that begins."""

    def __init__(self, out: TextIO, total: int) -> None:
        self._out = out
        self._total = total
        self._done = -1
        self._started_s = time.monotonic()

    def begin(self, name: str) -> None:
        """The step before is done, this one begins."""
        self._done += 1
        elapsed_s = round(time.monotonic() - self._started_s, 3)
        self.send(event="phase", name=name, done=self._done, total=self._total, elapsed_s=elapsed_s)

    def send(self, **line: object) -> None:
        """One json line, at once."""
        print(json.dumps(line), file=self._out, flush=True)


def main() -> int:
    """Prepares the one artifact asked for on stdin. The exit status is 0 when it is published."""
    if hasattr(os, "nice"):
        os.nice(10)
    out = _own_stdout()
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    cell = Cell(**job["cell"])
    phases = Phases(out, total=_steps(cell))
    try:
        files = model_at(Path(job["path"]), job["id"])
        if files.fingerprint != job["fingerprint"]:
            raise ModelError(f"the files in {files.path} changed meanwhile: try again")
        ArtifactStore(Path(job["store"])).publish(
            job["key"],
            lambda folder: build(files, cell, folder, phases.begin),
            about(files, cell),
            warn=lambda text: phases.send(event="warning", message=text),
        )
    except KeyboardInterrupt:
        return 130
    except EngineError as error:
        phases.send(event="error", message=str(error))
        return 1
    except ImportError as error:
        phases.send(event="error", message=_missing(error))
        return 1
    except Exception as error:  # the boundary of the process: the parent shows it, stderr keeps the whole
        traceback.print_exc()
        phases.send(event="error", message=f"{type(error).__name__}: {error}")
        return 1
    return 0


def build(files: ModelFiles, cell: Cell, folder: Path, begin: Callable[[str], None]) -> None:
    """Fills `folder` with what the backend loads and with the reference vectors. Raises ModelError."""
    if cell.precision != "fp32" or cell.backend not in ("torch", "onnx"):
        raise ModelError(f"nothing prepares {cell.backend} {cell.precision} yet: choose torch or onnx with fp32")
    begin("load torch")
    import torch

    from engine.backends.module import load_module

    begin("load model")
    threads = max(1, _cores() // 2)  # the other half is for whoever is serving meanwhile
    torch.set_num_threads(threads)
    module = load_module(files.path, files.card)
    if tokenizer_path(files) is None:
        _convert_tokenizer(files, folder)
    tokenizer = Tokenizer.load(files, folder)
    begin("reference vectors")
    token_ids = [text.ids for text in tokenizer.encode(REFERENCE_TEXTS)]
    with torch.inference_mode():
        rows = [module(ids := torch.tensor([one]), torch.ones_like(ids))[0] for one in token_ids]
    ReferenceVectors(token_ids, torch.cat(rows).numpy()).save(folder)
    if cell.backend == "onnx":
        _build_onnx(module, files, cell, folder, threads, begin)
    begin("write")


def _build_onnx(
    module: Any, files: ModelFiles, cell: Cell, folder: Path, threads: int, begin: Callable[[str], None]
) -> None:
    from engine.backends import backend
    from engine.backends.export import VERIFIED_BATCHES, export, verify_batch
    from engine.backends.onnx import GRAPH_FILE

    begin("export")
    export(module, files.card, folder / GRAPH_FILE)
    begin("open graph")
    loaded = backend("onnx").load(folder, files.path, cell, threads)
    executor = loaded.executor(threads)
    for batch in VERIFIED_BATCHES:
        begin(f"verify batch {batch}")
        verify_batch(module, executor, files.card, batch)
    loaded.close()


def _steps(cell: Cell) -> int:
    """How often build() and main() begin a step: load torch, load model, reference, write; export, open, 4 checks."""
    return 10 if cell.backend == "onnx" else 4


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _convert_tokenizer(files: ModelFiles, folder: Path) -> None:
    """An older tokenizer (vocab.txt, sentencepiece) as the tokenizer.json that the server reads. Raises ModelError."""
    from transformers import AutoTokenizer

    load: Any = AutoTokenizer.from_pretrained  # transformers carries no types for it
    try:
        tokenizer = load(str(files.path / files.card.transformer_path), local_files_only=True, trust_remote_code=False)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    except (OSError, ValueError, AttributeError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the tokenizer of {files.id} cannot be converted ({reason}): add a tokenizer.json") from error


def _own_stdout() -> TextIO:
    """Stdout for our lines alone: whatever a library prints from now on goes to stderr."""
    ours = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(ours, "w", encoding="utf-8")


def _stop_at_end_of_input() -> None:
    """Stdin is a lifeline: at its end the main thread is interrupted, so that what was being built is removed."""
    while os.read(0, 4096):
        continue
    _thread.interrupt_main()
    time.sleep(_STOP_GRACE_S)  # a long native call does not hear the interrupt
    os._exit(130)  # what is left behind is swept by the next process that takes the lock


def _missing(error: ImportError) -> str:
    return f"preparing a model needs {error.name or 'torch'}: pip install 'embedconsole[torch]'"


if __name__ == "__main__":
    sys.exit(main())
