"""A child process that runs one job, reports in JSON lines, and ends when its parent does."""

import _thread
import asyncio
import contextlib
import json
import os
import sys
import threading
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, TextIO

import engine
from engine.errors import EngineError

_PACKAGE_ROOT = Path(engine.__file__).parent.parent
_LONGEST_LINE_BYTES = 1 << 20
_KEPT_LINES = 10
_STOP_GRACE_S = 5.0


def child_environment() -> dict[str, str]:
    """Returns the environment of a child process of the engine.

    The child imports this engine, whether or not it is installed, and nothing from its current folder, where a file of
    the user may have the name of a module.
    """
    paths = [str(_PACKAGE_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),  # an empty entry would be the current folder
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


class ChildLost(EngineError):
    """The child exited before its job was done, or was silent for too long."""


class ChildSilent(ChildLost):
    """The child was killed because it reported nothing for too long."""


async def reports(module: str, order: Mapping[str, Any], *, silent_s: float) -> AsyncGenerator[dict[str, Any]]:
    """Runs `python -m module` with `order` on its stdin, and yields its reports, one per JSON line.

    Raises ChildLost when the child fails, ChildSilent when it reports nothing for `silent_s` seconds. Closing the
    generator kills the child.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module,
        env=child_environment(),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True, limit=_LONGEST_LINE_BYTES,
    )  # fmt: skip
    stderr_tail = asyncio.create_task(_last_lines(child.stderr))
    try:
        if child.stdin is None or child.stdout is None:
            raise ChildLost(f"{module} was started without pipes")
        child.stdin.write(json.dumps(order).encode() + b"\n")
        while raw := await _line(child.stdout, silent_s):
            yield json.loads(raw)
        if await child.wait() != 0:
            last = (await stderr_tail or ["no output on stderr"])[-1]
            raise ChildLost(f"the child process exited with status {child.returncode} ({last.strip()[:200]})")
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has just exited
                child.kill()
            await child.wait()
        stderr_tail.cancel()


async def _line(stream: asyncio.StreamReader, silent_s: float) -> bytes:
    try:
        return await asyncio.wait_for(stream.readline(), silent_s)
    except TimeoutError as error:
        raise ChildSilent(f"the child process reported nothing for {silent_s:.0f} s") from error


async def _last_lines(stream: asyncio.StreamReader | None) -> list[str]:
    kept: deque[str] = deque(maxlen=_KEPT_LINES)
    while stream is not None and (chunk := await stream.read(1 << 16)):
        kept.extend(line for line in chunk.decode("utf-8", "replace").splitlines() if line.strip())
    return list(kept)


class Worker:
    """The child's side of the protocol: reads the order from stdin and writes reports to stdout."""

    def __init__(self, niceness: int = 10) -> None:
        """Lowers the priority of this process, reserves stdout for reports, and reads the order."""
        if hasattr(os, "nice"):
            os.nice(niceness)
        self._out = _own_stdout()
        self.order: dict[str, Any] = json.loads(sys.stdin.readline())
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()

    def report(self, **line: object) -> None:
        """Writes one JSON line and flushes it."""
        print(json.dumps(line), file=self._out, flush=True)


def _own_stdout() -> TextIO:
    """Returns the original stdout, and redirects everything that libraries print to stderr."""
    original = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(original, "w", encoding="utf-8")


def _stop_at_end_of_input() -> None:
    """Interrupts the main thread when stdin ends, and exits the process after _STOP_GRACE_S."""
    while os.read(0, 4096):
        continue
    _thread.interrupt_main()
    threading.Event().wait(_STOP_GRACE_S)  # a native call is not interrupted
    os._exit(130)
