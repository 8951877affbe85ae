"""The fp32 reference vectors of a corpus, from PyTorch: computed once in a child process, kept in the cache by content.

Run as a module it is that child process: a server of another runtime never imports PyTorch.
"""

import asyncio
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np

from engine.artifacts.prepare import Progress, prepare
from engine.artifacts.store import ArtifactStore
from engine.backends.base import Cell
from engine.errors import CannotSwitch
from engine.fidelity.corpus import Corpus
from engine.fidelity.metrics import BATCH, Reference
from engine.host.cache import cache_root
from engine.host.child import ChildLost, Worker, reports
from engine.host.machine import cores
from engine.models.resolve import ModelFiles
from engine.scheduling import Executor, TokenIds

_FP32 = Cell(backend="torch", precision="fp32", recipe="plain", device="cpu")
_SILENT_S = 300.0
"""Longest time without a line from the child process, in seconds."""
_FORMAT = 1


async def reference_of(
    files: ModelFiles, corpus: Corpus, texts: Sequence[TokenIds], store: ArtifactStore, on_done: Callable[[int], None]
) -> Reference:
    """Returns the fp32 vectors of a corpus, from the cache or from a child process that takes seconds to minutes.

    `texts` are the tokenized texts of the corpus. Calls `on_done` with the number of texts done, up to twice their
    count. Raises ModelError, or CannotSwitch if the child process fails.
    """
    content = f"{_FORMAT} {files.fingerprint} {corpus.hash} {files.card.max_tokens}"
    path = cache_root() / "fidelity" / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.npz"
    reference = await asyncio.to_thread(_load, path, len(texts))
    if reference is not None:
        return reference
    artifact = await prepare(files, _FP32, store, _ignore_progress)
    order = {
        "model": str(files.path), "artifact": str(artifact.path), "texts": [list(text) for text in texts],
        "threads": max(1, cores() // 2), "out": str(path),
    }  # fmt: skip
    try:
        async with aclosing(reports("engine.fidelity.reference", order, silent_s=_SILENT_S)) as lines:
            async for line in lines:
                on_done(line["done"])
    except ChildLost as error:
        raise CannotSwitch(f"the fp32 reference vectors could not be computed ({error}): try again") from error
    reference = await asyncio.to_thread(_load, path, len(texts))
    if reference is None:
        raise CannotSwitch(f"the fp32 reference vectors are missing from {path}: check the disk and try again")
    return reference


def _ignore_progress(progress: Progress) -> None:
    """Drops the progress of preparing the PyTorch artifact, which takes a moment."""


def _load(path: Path, count: int) -> Reference | None:
    """Returns None if the file is missing or damaged, in which case it is computed again."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            reference = Reference(arrays["unit"], arrays["norms"], arrays["batched_unit"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
    lengths = {len(reference.unit), len(reference.norms), len(reference.batched_unit)}
    return reference if lengths == {count} else None


def main() -> int:
    """Runs the child process: computes both passes and writes the file with one rename."""
    from engine.backends import backend

    worker = Worker()
    order = worker.order
    texts: list[TokenIds] = order["texts"]
    model = backend("torch").load(Path(order["artifact"]), Path(order["model"]), _FP32, order["threads"])
    executor = model.executor(order["threads"])
    reference = compute(executor, texts, lambda done: worker.report(done=done))
    out = Path(order["out"])
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=".writing-", suffix=".npz", delete=False) as file:
        np.savez(file, unit=reference.unit, norms=reference.norms, batched_unit=reference.batched_unit)
    Path(file.name).replace(out)
    return 0


def compute(executor: Executor, texts: Sequence[TokenIds], on_done: Callable[[int], None]) -> Reference:
    """Computes the vectors one text at a time, and again in batches of 32 texts sorted by length."""
    unit, norms = [], []
    for done, text in enumerate(texts, start=1):
        vectors = executor([text]).in_order()
        unit.append(np.array(vectors.unit[0]))
        norms.append(float(vectors.norms[0]))
        if done % BATCH == 0:
            on_done(done)
    batched = np.zeros((len(texts), len(unit[0])), np.float32)
    by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    for start in range(0, len(texts), BATCH):
        indices = by_length[start : start + BATCH]
        batched[indices] = executor([texts[index] for index in indices]).in_order().unit
        on_done(len(texts) + start + len(indices))
    return Reference(np.stack(unit), np.array(norms, np.float32), batched)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
