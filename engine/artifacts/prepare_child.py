"""The prepare child: a process that exports, quantises and verifies an artifact and records reference vectors.

prepare.py starts it and writes the job to its stdin as one JSON line. The child writes progress to stdout as JSON lines
and stops when stdin ends.
"""

import _thread
import json
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from engine.artifacts.calibration import Calibration, calibration_of, default_calibration
from engine.artifacts.derive import derive
from engine.artifacts.reference_vectors import REFERENCE_TEXTS, ReferenceVectors
from engine.artifacts.store import ArtifactStore, artifact_details, artifact_key
from engine.backends.base import Cell
from engine.backends.recipes import prepared_as, recipe_of
from engine.errors import EngineError, ModelError
from engine.host.os_errors import describe
from engine.models.resolve import ModelFiles, model_at
from engine.models.tokenizer import Tokenizer, tokenizer_path

_STOP_GRACE_S = 5.0
_PLAIN_ONNX = Cell(backend="onnx", precision="fp32", recipe="plain", device="cpu")
"""The source of all quantised graphs."""


class Phases:
    """Writes progress as JSON lines: `done` of `total` steps are finished, and the step `name` begins."""

    def __init__(self, out: TextIO, total: int) -> None:
        self._out = out
        self.total = total
        self._done = -1
        self._started_s = time.monotonic()

    def begin(self, name: str) -> None:
        """Reports that the previous step is finished and that `name` begins."""
        self._done += 1
        elapsed_s = round(time.monotonic() - self._started_s, 3)
        self.send(event="phase", name=name, done=self._done, total=self.total, elapsed_s=elapsed_s)

    def send(self, **line: object) -> None:
        """Writes one JSON line and flushes it."""
        print(json.dumps(line), file=self._out, flush=True)


def main() -> int:
    """Prepares the artifact that the job on stdin describes. Returns exit status 0 when it is published."""
    if hasattr(os, "nice"):
        os.nice(10)
    out = _own_stdout()
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    cell = Cell(**job["cell"])
    store = ArtifactStore(Path(job["store"]))
    calibration = calibration_of(job["calibration"]) if job.get("calibration") else None
    phases = Phases(out, total=0)
    try:
        files = model_at(Path(job["path"]), job["id"])
        if files.fingerprint != job["fingerprint"]:
            raise ModelError(f"the files in {files.path} have changed since they were read: try again")
        plain_graph_exists = store.path(artifact_key(files, _PLAIN_ONNX)).exists()
        phases.total = _steps(cell, plain_graph_exists=plain_graph_exists)
        store.publish(
            job["key"],
            lambda folder: build(files, cell, folder, phases.begin, store, calibration),
            artifact_details(files, cell, calibration),
            warn=lambda text: phases.send(event="warning", message=text),
        )
    except KeyboardInterrupt:
        return 130
    except EngineError as error:
        phases.send(event="error", message=str(error))
        return 1
    except OSError as error:
        traceback.print_exc()
        phases.send(event="error", message=f"the artifact cannot be prepared: {describe(error)}")
        return 1
    except ImportError as error:
        phases.send(event="error", message=_missing_package(error))
        return 1
    except Exception as error:  # the parent shows the message; stderr has the traceback
        traceback.print_exc()
        phases.send(event="error", message=f"{type(error).__name__}: {error}")
        return 1
    return 0


def build(
    files: ModelFiles,
    cell: Cell,
    folder: Path,
    begin: Callable[[str], None],
    store: ArtifactStore | None = None,
    calibration: Calibration | None = None,
) -> None:
    """Fills `folder` with the files that the backend loads and the reference vectors. Raises ModelError.

    Recipes that start from the plain ONNX graph take it from `store`, and publish it there if it does not exist.
    """
    recipe, prepared = recipe_of(cell), prepared_as(cell)
    texts = (calibration or default_calibration()).texts if recipe.calibrated else ()
    if prepared.backend == "torch" or prepared == _PLAIN_ONNX:
        _build_from_weights(files, prepared, folder, begin, texts)
    elif store is not None:
        plain = store.publish(
            artifact_key(files, _PLAIN_ONNX),
            lambda target: _build_from_weights(files, _PLAIN_ONNX, target, begin, ()),
            artifact_details(files, _PLAIN_ONNX),
            warn=lambda text: print(text, file=sys.stderr),
        )
        derive(files, prepared, plain.path, folder, begin, texts)
    else:
        with tempfile.TemporaryDirectory(prefix="embedconsole-") as temporary:
            _build_from_weights(files, _PLAIN_ONNX, Path(temporary), begin, ())
            derive(files, prepared, Path(temporary), folder, begin, texts)
    begin("write")


def _build_from_weights(
    files: ModelFiles, prepared: Cell, folder: Path, begin: Callable[[str], None], texts: Sequence[str]
) -> None:
    """Writes everything that needs torch: reference vectors, the plain graph, and smoothing scales from `texts`."""
    begin("load torch")
    import torch

    from engine.backends.torch.module import load_module

    begin("load model")
    threads = max(1, _cores() // 2)  # the other half is left to the serving process
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
    if prepared == _PLAIN_ONNX:
        _build_onnx(module, files, folder, threads, begin)
    elif texts:
        from engine.backends.torch.quantize import measure_smoothing

        begin(f"smooth with {len(texts)} texts")
        measure_smoothing(module, [text.ids for text in tokenizer.encode(texts)], folder)


def _build_onnx(module: Any, files: ModelFiles, folder: Path, threads: int, begin: Callable[[str], None]) -> None:
    from engine.artifacts.export import VERIFIED_BATCHES, export, verify_batch
    from engine.backends import backend
    from engine.backends.onnx.runtime import GRAPH_FILE

    begin("export")
    export(module, files.card, folder / GRAPH_FILE)
    begin("open graph")
    loaded = backend("onnx").load(folder, files.path, _PLAIN_ONNX, threads)
    executor = loaded.executor(threads)
    for batch in VERIFIED_BATCHES:
        begin(f"verify batch {batch}")
        verify_batch(module, executor, files.card, batch)
    loaded.close()


def _steps(cell: Cell, *, plain_graph_exists: bool) -> int:
    """Returns the number of steps that build() begins.

    All: load torch, load model, reference vectors, write. A graph adds export, open and 4 checks; a quantised graph
    adds quantise and verify; torch with smoothing adds one step.
    """
    prepared = prepared_as(cell)
    if prepared.backend == "torch":
        return 5 if recipe_of(cell).calibrated else 4
    if prepared == _PLAIN_ONNX:
        return 10
    return 3 if plain_graph_exists else 12


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _convert_tokenizer(files: ModelFiles, folder: Path) -> None:
    """Converts an older tokenizer (vocab.txt, sentencepiece) to the tokenizer.json that the server reads.

    Raises ModelError.
    """
    from transformers import AutoTokenizer

    load: Any = AutoTokenizer.from_pretrained  # transformers has no types for it
    try:
        tokenizer = load(str(files.path / files.card.transformer_path), local_files_only=True, trust_remote_code=False)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    except (OSError, ValueError, AttributeError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the tokenizer of {files.id} cannot be converted ({reason}): add a tokenizer.json") from error


def _own_stdout() -> TextIO:
    """Returns the original stdout, and redirects everything that libraries print to stderr."""
    original = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(original, "w", encoding="utf-8")


def _stop_at_end_of_input() -> None:
    """Interrupts the main thread when stdin ends, so that it removes the partial artifact.

    Exits the process after _STOP_GRACE_S.
    """
    while os.read(0, 4096):
        continue
    _thread.interrupt_main()
    time.sleep(_STOP_GRACE_S)  # a native call is not interrupted
    os._exit(130)  # the next process that takes the lock removes the partial artifact


def _missing_package(error: ImportError) -> str:
    package = (error.name or "torch").partition(".")[0]
    extra = {"nncf": "openvino", "openvino": "openvino"}.get(package, "torch")
    return f"preparing this artifact needs {package}: pip install 'embedconsole[{extra}]'"


if __name__ == "__main__":
    sys.exit(main())
