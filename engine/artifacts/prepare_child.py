"""The preparer child: exports, verifies and records reference vectors, so that the serving process never has to.

Started by prepare.py with one json line on stdin, whose end is the order to stop; progress goes out as json lines.
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
from engine.artifacts.store import ArtifactStore, about, artifact_key
from engine.backends.base import Cell
from engine.backends.recipes import prepared_as, recipe_of
from engine.errors import EngineError, ModelError
from engine.models.resolve import ModelFiles, model_at
from engine.models.tokenizer import Tokenizer, tokenizer_path

_STOP_GRACE_S = 5.0
_PLAIN_ONNX = Cell(backend="onnx", precision="fp32", recipe="plain", device="cpu")
"""What all smaller graphs are made from."""


class Phases:
    """Progress lines: `done` of `total` steps are finished, and `name` is the one that begins."""

    def __init__(self, out: TextIO, total: int) -> None:
        self._out = out
        self.total = total
        self._done = -1
        self._started_s = time.monotonic()

    def begin(self, name: str) -> None:
        """The step before is done, this one begins."""
        self._done += 1
        elapsed_s = round(time.monotonic() - self._started_s, 3)
        self.send(event="phase", name=name, done=self._done, total=self.total, elapsed_s=elapsed_s)

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
    store = ArtifactStore(Path(job["store"]))
    calibration = calibration_of(job["calibration"]) if job.get("calibration") else None
    phases = Phases(out, total=0)
    try:
        files = model_at(Path(job["path"]), job["id"])
        if files.fingerprint != job["fingerprint"]:
            raise ModelError(f"the files in {files.path} changed meanwhile: try again")
        plain_graph_exists = store.path(artifact_key(files, _PLAIN_ONNX)).exists()
        phases.total = _steps(cell, plain_graph_exists=plain_graph_exists)
        store.publish(
            job["key"],
            lambda folder: build(files, cell, folder, phases.begin, store, calibration),
            about(files, cell, calibration),
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


def build(
    files: ModelFiles,
    cell: Cell,
    folder: Path,
    begin: Callable[[str], None],
    store: ArtifactStore | None = None,
    calibration: Calibration | None = None,
) -> None:
    """Fills `folder` with what the backend loads and with the reference vectors. Raises ModelError.

    Whatever is made from the plain ONNX graph takes it from `store`, and leaves it there for the next.
    """
    recipe, prepared = recipe_of(cell), prepared_as(cell)
    texts = (calibration or default_calibration()).texts if recipe.calibrated else ()
    if prepared.backend == "torch" or prepared == _PLAIN_ONNX:
        _build_from_weights(files, prepared, folder, begin, texts)
    elif store is not None:
        plain = store.publish(
            artifact_key(files, _PLAIN_ONNX),
            lambda place: _build_from_weights(files, _PLAIN_ONNX, place, begin, ()),
            about(files, _PLAIN_ONNX),
            warn=lambda text: print(text, file=sys.stderr),
        )
        derive(files, prepared, plain.path, folder, begin, texts)
    else:
        with tempfile.TemporaryDirectory(prefix="embedconsole-") as place:
            _build_from_weights(files, _PLAIN_ONNX, Path(place), begin, ())
            derive(files, prepared, Path(place), folder, begin, texts)
    begin("write")


def _build_from_weights(
    files: ModelFiles, prepared: Cell, folder: Path, begin: Callable[[str], None], texts: Sequence[str]
) -> None:
    """What needs torch: reference vectors, the plain graph, and how the activations of `texts` are smoothed."""
    begin("load torch")
    import torch

    from engine.backends.torch.module import load_module

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
    """How often build() begins a step.

    load torch, load model, reference vectors, write; for a graph also export, open, 4 checks; for what is made from
    one quantise, verify; for torch's smoothing one more.
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
    package = (error.name or "torch").partition(".")[0]
    extra = {"nncf": "openvino", "openvino": "openvino"}.get(package, "torch")
    return f"preparing this needs {package}: pip install 'embedconsole[{extra}]'"


if __name__ == "__main__":
    sys.exit(main())
