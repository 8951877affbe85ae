"""A child process in its own process session, with standard input as its lifeline and both outputs read line by line.

Uses `subprocess.Popen` instead of asyncio's subprocesses, which kill the child when their transport is collected: a
detached engine must continue to run.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import console
from console.model.supervise import Supervisor, to_stderr

_LONGEST_LINE_BYTES = 1 << 20
_POLL_S = 0.05
_PACKAGE_ROOT = Path(console.__file__).parent.parent


def child_environment() -> dict[str, str]:
    """Returns the environment of a child process of the console.

    A child in Python imports this package, whether or not it is installed, and nothing from the current folder, where a
    file of the user may have the name of a module.
    """
    paths = [str(_PACKAGE_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # An empty entry of PYTHONPATH would be the current folder.
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


class ChildGone(Exception):
    """The child no longer reads its standard input."""


class _Lines(asyncio.Protocol):
    """Splits the output of a pipe into lines. An overlong line is passed on in pieces, so that memory stays bounded."""

    def __init__(self, on_line: Callable[[bytes], None], supervisor: Supervisor) -> None:
        def guarded(line: bytes) -> None:
            supervisor.call("reading a child's output", on_line, line)  # a fault does not stop the following lines

        self._on_line = guarded
        self._rest = b""
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._on_line(line)
        if len(self._rest) > _LONGEST_LINE_BYTES:
            line, self._rest = self._rest, b""
            self._on_line(line)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest:
            self._on_line(self._rest)
        self.closed.set()


class Child:
    """A started process. `on_exit` is called once, after the last line, with the exit code (negative: a signal)."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        on_exit: Callable[[int], None],
        pipes: Sequence[tuple[asyncio.ReadTransport, _Lines]],
        supervisor: Supervisor,
    ) -> None:
        self._process = process
        self._pipes = pipes
        self._on_exit = on_exit
        self._released = False
        self._supervisor = supervisor
        self._waiter = supervisor.run("waiting for a child's exit", self._wait())

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        on_exit: Callable[[int], None],
        supervisor: Supervisor | None = None,
    ) -> "Child":
        """Starts the program. `supervisor` logs exceptions of the callbacks. Raises OSError if it cannot be started."""
        supervisor = supervisor or Supervisor(to_stderr)
        process = await asyncio.to_thread(
            subprocess.Popen,
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=child_environment(),
        )
        assert process.stdin is not None  # noqa: S101 - stdin is PIPE
        os.set_blocking(process.stdin.fileno(), False)
        loop = asyncio.get_running_loop()
        pipes = [
            await loop.connect_read_pipe(lambda on_line=on_line: _Lines(on_line, supervisor), pipe)  # type: ignore[misc]  # lambda default
            for on_line, pipe in ((on_stdout, process.stdout), (on_stderr, process.stderr))
        ]
        return cls(process, on_exit, pipes, supervisor)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, line: bytes) -> None:
        """Writes one line, which must be shorter than PIPE_BUF so that the write is atomic. Raises ChildGone."""
        stdin = self._process.stdin
        try:
            if stdin is None or stdin.closed:
                raise ChildGone("its input is closed")
            os.write(stdin.fileno(), line)
        except OSError as error:
            raise ChildGone(error.strerror or str(error)) from error

    async def stop(self, timeout_s: float) -> None:
        """Closes the input, then sends SIGTERM, then SIGKILL, each after `timeout_s`. Returns when the child exited."""
        self._close_input()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self._signal(number)
            done, _ = await asyncio.wait([self._waiter], timeout=timeout_s)
            if done:
                return

    def release(self) -> None:
        """Detaches the child, which continues to run: closes this process's ends of the pipes."""
        self._released = True
        self._waiter.cancel()
        for transport, _ in self._pipes:
            transport.close()
        self._close_input()
        self._process.returncode = 0  # suppresses Popen's warning about a running child

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def _wait(self) -> None:
        # Polls, because a grandchild that inherited the pipes may keep them open after the child exited.
        while (code := self._process.poll()) is None:  # noqa: ASYNC110 - a process has no event to wait for
            await asyncio.sleep(_POLL_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                for _, lines in self._pipes:
                    await lines.closed.wait()
        self._close_input()
        for transport, _ in self._pipes:
            transport.close()
        self._on_exit(code)
