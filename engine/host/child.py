"""A child process that works through one order and reports in JSON lines; it never outlives who asked for it."""

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


class ChildLost(EngineError):
    """The child ended without having done its work, or was silent for too long."""


class ChildSilent(ChildLost):
    """The child was ended because it had said nothing for too long."""


async def reports(module: str, order: Mapping[str, Any], *, silent_s: float) -> AsyncGenerator[dict[str, Any]]:
    """Runs `python -m module` with `order` on its stdin and gives what it reports, line by line.

    Raises ChildLost when it fails or says nothing for `silent_s`. Leaving the loop ends the child.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module,
        cwd=_PACKAGE_ROOT,  # so that it runs this very engine, installed or not
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True, limit=_LONGEST_LINE_BYTES,
    )  # fmt: skip
    last_words = asyncio.create_task(_last_lines(child.stderr))
    try:
        if child.stdin is None or child.stdout is None:
            raise ChildLost(f"{module} was started without pipes")
        child.stdin.write(json.dumps(order).encode() + b"\n")
        while raw := await _line(child.stdout, silent_s):
            yield json.loads(raw)
        if await child.wait() != 0:
            said = (await last_words or ["it said nothing"])[-1]
            raise ChildLost(f"the child process ended with status {child.returncode} ({said.strip()[:200]})")
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended this very moment
                child.kill()
            await child.wait()
        last_words.cancel()


async def _line(stream: asyncio.StreamReader, silent_s: float) -> bytes:
    try:
        return await asyncio.wait_for(stream.readline(), silent_s)
    except TimeoutError as error:
        raise ChildSilent(f"the child process said nothing for {silent_s:.0f} s") from error


async def _last_lines(stream: asyncio.StreamReader | None) -> list[str]:
    kept: deque[str] = deque(maxlen=_KEPT_LINES)
    while stream is not None and (chunk := await stream.read(1 << 16)):
        kept.extend(line for line in chunk.decode("utf-8", "replace").splitlines() if line.strip())
    return list(kept)


class Worker:
    """The child's own side: the order it was given, and where its reports go."""

    def __init__(self, niceness: int = 10) -> None:
        """Lowers this process' priority, takes stdout for reports alone and reads the order."""
        if hasattr(os, "nice"):
            os.nice(niceness)
        self._out = _own_stdout()
        self.order: dict[str, Any] = json.loads(sys.stdin.readline())
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()

    def report(self, **line: object) -> None:
        """One JSON line, at once."""
        print(json.dumps(line), file=self._out, flush=True)


def _own_stdout() -> TextIO:
    """Stdout for our lines alone: whatever a library prints from now on goes to stderr."""
    ours = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(ours, "w", encoding="utf-8")


def _stop_at_end_of_input() -> None:
    """Stdin is a lifeline: at its end the main thread is interrupted, and a moment later the process ends anyway."""
    while os.read(0, 4096):
        continue
    _thread.interrupt_main()
    threading.Event().wait(_STOP_GRACE_S)  # a long native call does not hear the interrupt
    os._exit(130)
