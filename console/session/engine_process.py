"""The engine as a child process: its options, and the events on its two outputs."""

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from console.model.engine import EngineSpec, Phase
from console.model.supervise import Supervisor
from console.session.child_process import Child, ChildGone
from console.session.port import Detached

DETACH_TIMEOUT_S = 10.0
EXIT_USAGE = 3
"""Exit code of an engine that refuses its command line."""
_REFUSED_OPTIONS = frozenset({"usage", "cannot_run", "no_model"})
"""Codes of the error events of an engine that cannot run what its options name."""
_LEVELS = {"DEBUG": "debug", "WARNING": "warning", "WARN": "warning", "ERROR": "error", "CRITICAL": "error"}


def serve_flags(spec: EngineSpec) -> list[str]:
    """Returns the options of `engine serve` for the specification. Empty and 0 values are left to the engine."""
    flags = ["--port", str(spec.port), "--lifeline", "stdin"]
    named: dict[str, str | int | float] = {
        "--model": spec.model,
        "--backend": spec.backend,
        "--precision": spec.precision,
        "--recipe": spec.recipe,
        "--device": spec.device,
        "--instances": spec.instances,
        "--threads": spec.threads,
        "--max-batch-tokens": spec.max_batch_tokens,
        "--max-batch-items": spec.max_batch_items,
        "--max-wait-ms": spec.max_wait_ms,
    }
    for flag, value in named.items():
        if value:
            flags += [flag, str(value)]
    if spec.strict:
        flags.append("--strict")
    if not spec.coalesce:
        flags += ["--coalesce", "off"]
    return flags


@dataclass(frozen=True, slots=True)
class EngineListener:
    """Callbacks for the engine's process. They are called in the event loop's thread."""

    ready: Callable[[dict[str, Any]], None]
    phase: Callable[[Phase], None]
    log: Callable[[str, str], None]
    """level, text"""
    exited: Callable[[int, str], None]
    """exit code (negative: a signal), last error message"""


class EngineProcess:
    """One engine process, from start to exit or detachment."""

    def __init__(self, listener: EngineListener) -> None:
        self._listener = listener
        self._child: Child | None = None
        self._last_error = self._error_code = ""
        self._last_line = ""
        self._address = ""
        self._detached: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def start(self, spec: EngineSpec, command: Sequence[str]) -> None:
        """Starts the engine. Raises OSError if the program cannot be started."""
        self._child = await Child.start(
            [*command, *serve_flags(spec)],
            on_stdout=self._on_stdout,
            on_stderr=self._on_stderr,
            on_exit=self._on_exit,
            supervisor=Supervisor(self._listener.log),
        )

    @property
    def pid(self) -> int:
        return self._child.pid if self._child is not None else 0

    def refused_options(self, exit_code: int) -> bool:
        """Whether an engine with this exit code cannot be started with its options, whatever the state of the host."""
        return exit_code == EXIT_USAGE or (exit_code > 0 and self._error_code in _REFUSED_OPTIONS)

    async def stop(self, timeout_s: float) -> None:
        """Drains and stops the engine; kills it if it does not exit in time."""
        if self._child is not None:
            await self._child.stop(timeout_s)

    async def detach(self) -> Detached:
        """Detaches the engine, which continues to run. Raises ChildGone, TimeoutError."""
        if self._child is None:
            raise ChildGone("the engine was not started")
        self._child.send(b"detach\n")
        async with asyncio.timeout(DETACH_TIMEOUT_S):
            answer = await asyncio.shield(self._detached)
        self._child.release()
        pid = self._child.pid
        return Detached(self._address, pid, str(answer.get("log", "")), str(answer.get("stop", f"kill -TERM {pid}")))

    def _on_stdout(self, line: bytes) -> None:
        event = _json_object(line)
        if event is not None and event.get("event") == "ready":
            self._address = str(event.get("address", ""))
            self._listener.ready(event)
        elif event is not None and event.get("event") == "detached":
            if not self._detached.done():
                self._detached.set_result(event)
        else:
            self._log(line)

    def _on_stderr(self, line: bytes) -> None:
        event = _json_object(line)
        kind = event.get("event") if event is not None else None
        if event is not None and kind == "phase":
            self._listener.phase(phase_of(event))
        elif event is not None and kind == "error":
            self._error_code = str(event.get("code", ""))
            self._last_error = _with_fix(str(event.get("message", "")), str(event.get("fix", "")))
            self._listener.log("error", self._last_error)
        elif event is not None and (text := event.get("message", event.get("text"))):
            level = str(event.get("level", "info")).upper()
            self._listener.log(_LEVELS.get(level, "info"), str(text))
        else:
            self._log(line)

    def _log(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            level = next((level for word, level in _LEVELS.items() if word in text[:60]), "info")
            self._last_line = text
            self._listener.log(level, text)

    def _on_exit(self, code: int) -> None:
        self._listener.exited(code, self._last_error or self._last_line)


def phase_of(event: dict[str, Any]) -> Phase:
    """Parses a start-up phase. A value of the wrong type counts as not known."""

    def number(name: str) -> float:
        value = event.get(name)
        return value if isinstance(value, (int, float)) and math.isfinite(value) else 0

    return Phase(
        name=str(event.get("name", "")),
        message=str(event.get("message", "")),
        done=int(number("done")),
        total=int(number("total")),
        elapsed_s=float(number("elapsed_s")),
    )


def _json_object(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:  # a log line that begins with a brace
        return None
    return value if isinstance(value, dict) else None


def _with_fix(message: str, fix: str) -> str:
    return f"{message}: {fix}" if fix and fix not in message else message
