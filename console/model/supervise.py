"""Supervises the console's background tasks: a fault is logged with its traceback and reported, never lost.

Imports neither the session nor gRPC, so that the screens and the load driver may use it too.
"""

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from console.model.errors import CommandRefused

FIRST_RESTART_S = 1.0
LONGEST_RESTART_S = 30.0
"""The pause before a restart doubles from FIRST_RESTART_S to this; a task that ran for so long begins at the first."""
SAME_FAULT_S = 60.0
"""A fault that repeats is logged once in this time, with the number of repetitions."""

Failed = Callable[[str], None]
"""Takes one sentence: what failed, and with which error."""


@dataclass(slots=True)
class _Logged:
    at_s: float
    repeated: int = 0


class Supervisor:
    """Runs work whose fault must not be lost. All methods belong to the event loop's thread.

    A cancelled task is not a fault, and a CommandRefused is an answer: both end the task without a traceback.
    """

    def __init__(
        self,
        log: Callable[[str, str], None],
        *,
        refused: Callable[[str], None] | None = None,
        report: Failed | None = None,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`log`: takes level and text. `refused`: takes a refusal, by default a warning in the log.

        `report`: shows a fault to the user, beside the line in the log.
        """
        self._log = log
        self._refused = refused or (lambda text: log("warning", text))
        self._report = report
        self._now_s = now_s
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()
        self._logged: dict[tuple[str, str], _Logged] = {}

    def run(self, what: str, work: Coroutine[Any, Any, None], failed: Failed | None = None) -> asyncio.Task[None]:
        """A task for work that is done once. `what`: names it in the log. `failed`: is told of a fault."""
        return self._task(self.guard(what, work, failed))

    def keep_running(
        self, what: str, work: Callable[[], Coroutine[Any, Any, None]], failed: Failed | None = None
    ) -> asyncio.Task[None]:
        """A task for work that never ends by itself: after a fault it starts again, after a pause."""
        return self._task(self._restarted(what, work, failed))

    async def guard(self, what: str, work: Awaitable[None], failed: Failed | None = None) -> None:
        """Awaits the work; its fault is logged and reported here and is not raised."""
        try:
            await work
        except CommandRefused as refusal:
            self._refused(str(refusal))
        except Exception as error:
            self.fault(what, error, failed)

    def call(self, what: str, function: Callable[[Any], object], argument: Any) -> None:
        """Calls the function; its fault is logged and reported here and is not raised."""
        try:
            function(argument)
        except CommandRefused as refusal:
            self._refused(str(refusal))
        except Exception as error:
            self.fault(what, error)

    def watch(self, what: str, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """Reports the fault of a task that was started elsewhere."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and isinstance(error := task.exception(), Exception):
                self.fault(what, error)

        task.add_done_callback(ended)
        return task

    def on_loop_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception handler for an event loop: callbacks, and tasks that nobody awaited."""
        error = context.get("exception")
        if isinstance(error, Exception):
            self._log("debug", str(context.get("message", "")))
            self.fault("the event loop", error)
        else:
            loop.default_exception_handler(context)

    def fault(self, what: str, error: Exception, failed: Failed | None = None) -> str:
        """Logs the traceback and reports one sentence, which it returns."""
        sentence = f"{what} failed: {type(error).__name__}: {error}"
        if self._is_news(what, error):
            repeated = self._logged[what, type(error).__name__].repeated
            self._log("error", sentence + (f" ({repeated:,} more of this kind before)" if repeated else ""))
            for part in traceback.format_exception(error):
                for text in part.rstrip().splitlines():
                    self._log("debug", text)
            self._logged[what, type(error).__name__].repeated = 0
        for told in (self._report, failed):
            if told is not None:
                self._tell(told, sentence)
        return sentence

    def _is_news(self, what: str, error: Exception) -> bool:
        """Bounds the log: a fault of one kind is written once in SAME_FAULT_S, and counted in between."""
        now_s, before = self._now_s(), self._logged.get((what, type(error).__name__))
        if before is None:
            self._logged[what, type(error).__name__] = _Logged(now_s)
            return True
        if now_s - before.at_s < SAME_FAULT_S:
            before.repeated += 1
            return False
        before.at_s = now_s
        return True

    def _tell(self, told: Failed, sentence: str) -> None:
        try:
            told(sentence)
        except Exception as error:
            self._log("error", f"reporting a fault failed: {type(error).__name__}: {error}")

    async def _restarted(self, what: str, work: Callable[[], Coroutine[Any, Any, None]], failed: Failed | None) -> None:
        pause_s = FIRST_RESTART_S
        while True:
            began_s = self._now_s()
            try:
                await work()
            except Exception as error:
                self.fault(what, error, failed)
            else:
                return
            if self._now_s() - began_s >= LONGEST_RESTART_S:
                pause_s = FIRST_RESTART_S
            await self._sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RESTART_S)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop holds its tasks weakly
        task.add_done_callback(self._tasks.discard)
        return task


def to_stderr(level: str, text: str) -> None:
    """A log for a process whose standard error is read by its parent."""
    print(f"{level}: {text}", file=sys.stderr, flush=True)
