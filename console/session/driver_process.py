"""The load generator as a child process, which takes commands and emits events."""

import sys
from collections.abc import Callable

from console.load.protocol import Command, Event, decode_event, encode_command
from console.model.supervise import Supervisor
from console.session.child_process import Child, ChildGone

DRIVER_COMMAND = (sys.executable, "-m", "console.load")


class DriverProcess:
    """One process of the load generator, from start to exit."""

    def __init__(
        self, on_event: Callable[[Event], None], on_log: Callable[[str, str], None], on_exit: Callable[[int], None]
    ) -> None:
        self._on_event = on_event
        self._on_log = on_log
        self._on_exit = on_exit
        self._child: Child | None = None

    async def start(self) -> None:
        """Starts the process. Raises OSError if it cannot be started."""
        self._child = await Child.start(
            DRIVER_COMMAND,
            on_stdout=self._on_stdout,
            on_stderr=self._on_stderr,
            on_exit=self._exited,
            supervisor=Supervisor(self._on_log),
        )

    @property
    def running(self) -> bool:
        return self._child is not None

    @property
    def pid(self) -> int:
        return self._child.pid if self._child is not None else 0

    def send(self, command: Command) -> None:
        """Sends a command. Raises ChildGone if the process is not running."""
        if self._child is None:
            raise ChildGone("the load generator is not running")
        self._child.send(encode_command(command))

    async def stop(self, timeout_s: float = 3.0) -> None:
        if self._child is not None:
            await self._child.stop(timeout_s)

    def _on_stdout(self, line: bytes) -> None:
        try:
            event = decode_event(line)
        except ValueError as error:
            self._on_log("warning", str(error))
            return
        self._on_event(event)

    def _on_stderr(self, line: bytes) -> None:
        if text := line.decode(errors="replace").rstrip():
            self._on_log("warning", text)

    def _exited(self, code: int) -> None:
        self._child = None
        self._on_exit(code)
