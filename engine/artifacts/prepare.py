"""The parent's side of preparing: find the artifact, or have a niced child make it while this process serves on."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import engine
from engine.artifacts.calibration import Calibration
from engine.artifacts.store import Artifact, ArtifactStore, artifact_key
from engine.backends.base import Cell
from engine.errors import CannotSwitch, ModelError
from engine.models.resolve import ModelFiles

__all__ = ["Artifact", "ArtifactStore", "Progress", "prepare"]

_PACKAGE_ROOT = Path(engine.__file__).parent.parent
_KEPT_LINES = 20
_LONGEST_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """A step that begins, `done` of `total` being finished; or, with `warning` set, something to tell the user."""

    name: str
    done: int
    total: int
    elapsed_s: float
    warning: str = ""


async def prepare(
    files: ModelFiles,
    cell: Cell,
    store: ArtifactStore,
    on_progress: Callable[[Progress], None],
    calibration: Calibration | None = None,
) -> Artifact:
    """The artifact of `cell`, found in the store or made by a child process.

    `calibration` replaces the default texts where the cell's recipe is calibrated, and does nothing elsewhere.

    Raises ModelError with the child's own words when the model cannot be prepared, CannotSwitch when the child was
    lost. Cancelling kills the child. Whatever ends it, nothing partial stays.
    """
    warnings: list[str] = []
    key = await asyncio.to_thread(artifact_key, files, cell, calibration)
    found = await asyncio.to_thread(store.find, key, warnings.append)
    for text in warnings:
        on_progress(Progress("warning", 0, 0, 0.0, warning=text))
    if found is not None:
        return found
    order = {
        "path": str(files.path),
        "id": files.id,
        "fingerprint": files.fingerprint,
        "cell": asdict(cell),
        "store": str(store.root),
        "key": key,
        "calibration": list(calibration.texts) if calibration else [],
    }
    await _run_child(json.dumps(order).encode() + b"\n", store, on_progress)
    found = await asyncio.to_thread(store.find, key, warnings.append)
    if found is None:
        raise CannotSwitch(f"the prepared artifact vanished ({'; '.join(warnings) or 'pruned meanwhile'}): try again")
    return found


async def _run_child(order: bytes, store: ArtifactStore, on_progress: Callable[[Progress], None]) -> None:
    """Runs the preparer to its end. Raises ModelError or CannotSwitch when that is not success."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "engine.artifacts.prepare_child",
        cwd=_PACKAGE_ROOT,  # so that it runs this very engine, installed or not
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=_LONGEST_LINE_BYTES,
    )
    succeeded = False
    said = asyncio.create_task(_last_lines(child.stderr))
    try:
        error = await _follow(child, order, on_progress)
        status = await child.wait()
        if status != 0:
            raise ModelError(error) if error else CannotSwitch(_lost(status, await said))
        succeeded = True
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended this very moment
                child.kill()
            await child.wait()
        said.cancel()
        if not succeeded:
            await asyncio.to_thread(store.sweep)


async def _follow(child: asyncio.subprocess.Process, order: bytes, on_progress: Callable[[Progress], None]) -> str:
    """Gives the order and passes progress on until the child closes its output; returns its error, if it said one."""
    if child.stdin is None or child.stdout is None:
        raise CannotSwitch("the preparer was started without pipes")
    error = ""
    child.stdin.write(order)
    async for raw in child.stdout:
        line = json.loads(raw)
        if line["event"] == "phase":
            on_progress(Progress(line["name"], line["done"], line["total"], line["elapsed_s"]))
        elif line["event"] == "warning":
            on_progress(Progress("warning", 0, 0, 0.0, warning=line["message"]))
        elif line["event"] == "error":
            error = line["message"]
    return error


async def _last_lines(stream: asyncio.StreamReader | None) -> list[str]:
    kept: deque[str] = deque(maxlen=_KEPT_LINES)
    while stream is not None and (chunk := await stream.read(1 << 16)):
        kept.extend(line for line in chunk.decode("utf-8", "replace").splitlines() if line.strip())
    return list(kept)


def _lost(status: int, said: list[str]) -> str:
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    last = f" ({said[-1].strip()[:200]})" if said else ""
    return f"the preparer {how}{last}: try again, and see that memory suffices"
