"""What fp32 torch makes of a corpus, batch 1 and one after another: computed once in a child, kept by content.

Run as a module it is that child: the server itself never imports torch to serve another runtime.
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
_FORMAT = 1


async def reference_of(
    files: ModelFiles, corpus: Corpus, texts: Sequence[TokenIds], store: ArtifactStore, on_done: Callable[[int], None]
) -> Reference:
    """The corpus' fp32 vectors, from the cache or from a child that takes seconds to minutes.

    `texts` are the corpus after tokenizing; `on_done` is told how many of twice their count are done. Raises
    ModelError, or CannotSwitch when the child was lost.
    """
    deciding = f"{_FORMAT} {files.fingerprint} {corpus.hash} {files.card.max_tokens}"
    path = cache_root() / "fidelity" / f"{hashlib.sha256(deciding.encode()).hexdigest()[:32]}.npz"
    found = await asyncio.to_thread(_load, path, len(texts))
    if found is not None:
        return found
    artifact = await prepare(files, _FP32, store, _silently)
    order = {
        "model": str(files.path), "artifact": str(artifact.path), "texts": [list(text) for text in texts],
        "threads": max(1, cores() // 2), "out": str(path),
    }  # fmt: skip
    try:
        async with aclosing(reports("engine.fidelity.reference", order, silent_s=_SILENT_S)) as lines:
            async for line in lines:
                on_done(line["done"])
    except ChildLost as error:
        raise CannotSwitch(f"the fp32 reference could not be computed ({error}): try again") from error
    found = await asyncio.to_thread(_load, path, len(texts))
    if found is None:
        raise CannotSwitch(f"the fp32 reference vanished from {path}: check the disk and try again")
    return found


def _silently(progress: Progress) -> None:
    """What preparing torch fp32 says is of no interest here."""


def _load(path: Path, count: int) -> Reference | None:
    """None when there is nothing usable; a damaged file is simply made again."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = Reference(arrays["unit"], arrays["norms"], arrays["batched_unit"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return found if len(found.unit) == len(found.norms) == len(found.batched_unit) == count else None


def main() -> int:
    """The child: both passes, then the file in one step."""
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
    """One text at a time, then the same in batches of 32 in the order of their lengths."""
    unit, norms = [], []
    for done, text in enumerate(texts, start=1):
        vectors = executor([text])
        unit.append(np.array(vectors.unit[0]))
        norms.append(float(vectors.norms[0]))
        if done % BATCH == 0:
            on_done(done)
    batched = np.zeros((len(texts), len(unit[0])), np.float32)
    by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    for start in range(0, len(texts), BATCH):
        chosen = by_length[start : start + BATCH]
        batched[chosen] = executor([texts[index] for index in chosen]).unit
        on_done(len(texts) + start + len(chosen))
    return Reference(np.stack(unit), np.array(norms, np.float32), batched)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
