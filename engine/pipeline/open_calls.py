"""The calls that are open, so that they can be ended with a reason before the process ends."""

import asyncio
from types import TracebackType

from engine.errors import Unavailable


class OpenCalls:
    """The tasks that answer calls. Used from the event loop's thread only.

    Without `end_all`, a call that is open when the server stops is cancelled, and its caller learns no reason.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object] | None] = set()
        self._reason: str | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def open(self) -> "_OpenCall":
        """Returns a context manager for the part of a call that may be ended. One per task at a time.

        It raises Unavailable with the reason if `end_all` ends the call.
        """
        return _OpenCall(self)

    def end_all(self, reason: str) -> None:
        """Ends every open call; later ones are not affected. `reason`: with the caller's next step."""
        self._reason = reason
        for task in tuple(self._tasks):
            if task is not None:
                task.cancel()

    def enter(self) -> asyncio.Task[object] | None:
        """Implements `open`."""
        task = asyncio.current_task()
        self._tasks.add(task)
        return task

    def leave(self, task: asyncio.Task[object] | None, kind: type[BaseException] | None) -> None:
        """Implements `open`."""
        self._tasks.discard(task)
        if kind is asyncio.CancelledError and self._reason is not None:
            if task is not None:
                task.uncancel()
            raise Unavailable(self._reason) from None


class _OpenCall:
    __slots__ = ("_calls", "_task")

    def __init__(self, calls: OpenCalls) -> None:
        self._calls = calls
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        self._task = self._calls.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._calls.leave(self._task, kind)
