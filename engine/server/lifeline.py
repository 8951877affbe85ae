"""Stdin as a lifeline of a child process: end of file means that the parent process has ended."""

import asyncio
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_state_path

from engine.host.reporting import Reporter


def is_pipe_or_socket(descriptor: int = 0) -> bool:
    """Returns whether the descriptor is a pipe or a socket. A terminal or /dev/null is no lifeline."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class Lifeline(asyncio.Protocol):
    """Calls `on_end` at end of file, unless it has received the line `detach`. Used only with `--lifeline stdin`."""

    def __init__(self, reporter: Reporter, on_end: Callable[[], None]) -> None:
        self._reporter = reporter
        self._on_end = on_end
        self._received = b""
        self._detached = False

    @classmethod
    async def attach(cls, reporter: Reporter, on_end: Callable[[], None]) -> None:
        """Starts reading stdin, which must be a pipe or a socket."""
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: cls(reporter, on_end), sys.stdin)

    def data_received(self, data: bytes) -> None:
        """Handles complete lines. `detach` is the only command; others are ignored."""
        *lines, self._received = (self._received + data).split(b"\n")
        if b"detach" in (line.strip() for line in lines) and not self._detached:
            self._detached = True
            detach(self._reporter)

    def eof_received(self) -> None:
        """Ends the lifeline: the parent has closed the pipe or has ended."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the lifeline: the pipe is broken."""
        self._end()

    def _end(self) -> None:
        if not self._detached:
            self._detached = True
            self._on_end()


def detach(reporter: Reporter) -> Path:
    """Detaches from the parent: reports the log file and how to stop, and redirects stdout and stderr to that file.

    Returns the path of the log file.
    """
    folder = user_state_path("embedconsole", ensure_exists=True)
    path = folder / f"engine-{os.getpid()}.log"
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    reporter.data("detached", log=str(path), pid=os.getpid(), stop=f"kill -TERM {os.getpid()}")
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    return path
