"""The stdin of a child process as a lifeline: end of file means that whoever started us has gone."""

import asyncio
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_state_path

from engine.host.reporting import Reporter


def is_pipe_or_socket(descriptor: int = 0) -> bool:
    """True where stdin is a pipe or a socket. A terminal or /dev/null holds no lifeline."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class Lifeline(asyncio.Protocol):
    """Calls `on_end` at end of file, unless the line `detach` came first."""

    def __init__(self, reporter: Reporter, on_end: Callable[[], None]) -> None:
        self._reporter = reporter
        self._on_end = on_end
        self._received = b""
        self._detached = False

    @classmethod
    async def hold(cls, reporter: Reporter, on_end: Callable[[], None]) -> None:
        """Starts listening on stdin, where somebody holds it."""
        if is_pipe_or_socket():
            loop = asyncio.get_running_loop()
            await loop.connect_read_pipe(lambda: cls(reporter, on_end), sys.stdin)

    def data_received(self, data: bytes) -> None:
        """Collects whole lines; only `detach` is known."""
        *lines, self._received = (self._received + data).split(b"\n")
        if b"detach" in (line.strip() for line in lines) and not self._detached:
            self._detached = True
            detach(self._reporter)

    def eof_received(self) -> None:
        """The other end has closed or died."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """As end of file, for a pipe that broke."""
        self._end()

    def _end(self) -> None:
        if not self._detached:
            self._detached = True
            self._on_end()


def detach(reporter: Reporter) -> Path:
    """Lives on without a parent: says where the log goes and how to stop, then writes there instead of the pipes."""
    folder = user_state_path("embedconsole", ensure_exists=True)
    path = folder / f"engine-{os.getpid()}.log"
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    reporter.data("detached", log=str(path), pid=os.getpid(), stop=f"kill -TERM {os.getpid()}")
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    return path
