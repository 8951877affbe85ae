"""Finds a prepared artifact, or prepares it in a child process of lower priority while this process serves."""

import asyncio
import contextlib
import json
import signal
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass

from engine.artifacts.calibration import Calibration
from engine.artifacts.store import Artifact, ArtifactStore, artifact_key
from engine.backends.base import Cell
from engine.errors import CannotSwitch, ModelError
from engine.host.child import child_environment
from engine.models.resolve import ModelFiles

__all__ = ["Artifact", "ArtifactStore", "Progress", "prepare"]

_KEPT_LINES = 20
_LONGEST_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """The start of a step, with `done` of `total` steps finished; or a message for the user if `warning` is set."""

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
    """Returns the artifact of `cell` from the store; a child process prepares it if it does not exist.

    `calibration` replaces the default texts if the recipe of the cell is calibrated; other recipes ignore it.

    Raises ModelError with the child's message when the model cannot be prepared, CannotSwitch when the child ended
    without a message. Cancelling kills the child. No partial artifact remains in any case.
    """
    warnings: list[str] = []
    key = await asyncio.to_thread(artifact_key, files, cell, calibration)
    artifact = await asyncio.to_thread(store.find, key, warnings.append)
    for text in warnings:
        on_progress(Progress("warning", 0, 0, 0.0, warning=text))
    if artifact is not None:
        return artifact
    job = {
        "path": str(files.path),
        "id": files.id,
        "fingerprint": files.fingerprint,
        "cell": asdict(cell),
        "store": str(store.root),
        "key": key,
        "calibration": list(calibration.texts) if calibration else [],
    }
    await _run_child(json.dumps(job).encode() + b"\n", store, on_progress)
    artifact = await asyncio.to_thread(store.find, key, warnings.append)
    if artifact is None:
        reason = "; ".join(warnings) or "it may have been pruned"
        raise CannotSwitch(f"the prepared artifact is missing ({reason}): try again")
    return artifact


async def _run_child(job: bytes, store: ArtifactStore, on_progress: Callable[[Progress], None]) -> None:
    """Runs the prepare child until it exits. Raises ModelError or CannotSwitch if it fails."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "engine.artifacts.prepare_child",
        env=child_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=_LONGEST_LINE_BYTES,
    )
    succeeded = False
    stderr_tail = asyncio.create_task(_last_lines(child.stderr))
    try:
        error = await _read_events(child, job, on_progress)
        status = await child.wait()
        if status != 0:
            raise ModelError(error) if error else CannotSwitch(_exit_message(status, await stderr_tail))
        succeeded = True
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has just exited
                child.kill()
            await child.wait()
        stderr_tail.cancel()
        if not succeeded:
            await asyncio.to_thread(store.sweep)


async def _read_events(child: asyncio.subprocess.Process, job: bytes, on_progress: Callable[[Progress], None]) -> str:
    """Sends the job and forwards progress until the child closes stdout. Returns its error message, or ''."""
    if child.stdin is None or child.stdout is None:
        raise CannotSwitch("the preparation process was started without pipes")
    error = ""
    child.stdin.write(job)
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


def _exit_message(status: int, stderr_tail: list[str]) -> str:
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    last = f" ({stderr_tail[-1].strip()[:200]})" if stderr_tail else ""
    return f"the preparation process {how}{last}: check that enough memory is free, and try again"
