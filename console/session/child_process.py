"""A child process in its own session, with its standard input as lifeline and both outputs drained line by line.

`subprocess.Popen` rather than asyncio's subprocesses: those kill the child when their transport is collected, and an
engine that was detached must live on.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

from console.model.supervise import Supervisor, to_stderr

_LONGEST_LINE_BYTES = 1 << 20
_POLL_S = 0.05


class ChildGone(Exception):
    """The child does not read its standard input any more."""


class _Lines(asyncio.Protocol):
    """Cuts one pipe into lines; one that never ends is given out in pieces, so that memory stays bounded."""

    def __init__(self, on_line: Callable[[bytes], None], supervisor: Supervisor) -> None:
        def guarded(line: bytes) -> None:
            supervisor.call("reading a child's output", on_line, line)  # the lines after a faulty one still come

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
    """One started process. `on_exit` is called once, after its last line, with the exit code (negative: a signal)."""

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
        self._waiter = supervisor.run("waiting for a child's end", self._wait())

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
        """Raises OSError when the program cannot be started. `supervisor`: logs what the callbacks raise."""
        supervisor = supervisor or Supervisor(to_stderr)
        process = await asyncio.to_thread(
            subprocess.Popen,
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 - PIPE was asked for
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
        """Writes one short line (under PIPE_BUF, so it is written whole). Raises ChildGone."""
        stdin = self._process.stdin
        try:
            if stdin is None or stdin.closed:
                raise ChildGone("its input is closed")
            os.write(stdin.fileno(), line)
        except OSError as error:
            raise ChildGone(error.strerror or str(error)) from error

    async def stop(self, patience_s: float) -> None:
        """End of input, then SIGTERM, then SIGKILL, each after `patience_s`; returns when it has ended."""
        self._close_input()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self._signal(number)
            done, _ = await asyncio.wait([self._waiter], timeout=patience_s)
            if done:
                return

    def release(self) -> None:
        """Lets the child live on: closes our ends of its pipes and forgets it."""
        self._released = True
        self._waiter.cancel()
        for transport, _ in self._pipes:
            transport.close()
        self._close_input()
        self._process.returncode = 0  # Popen would warn that a child still runs; this one is meant to

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def _wait(self) -> None:
        # Polled: a grandchild that inherited the pipes may outlive the child, so their end proves nothing.
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
