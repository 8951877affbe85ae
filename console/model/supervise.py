"""Supervision of background tasks: an exception in a task is logged with its traceback and reported.

Imports neither the session nor gRPC, so that the screens and the load generator can use it too.
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
"""The pause before a restart doubles from FIRST_RESTART_S to LONGEST_RESTART_S.

It is reset after the task has run for LONGEST_RESTART_S.
"""
SAME_FAULT_S = 60.0
"""A repeated fault is logged once in this time, with the number of repetitions."""

OnFault = Callable[[str], None]
"""A callback for faults. Takes one sentence: what failed, and the error."""


@dataclass(slots=True)
class _FaultLog:
    at_s: float
    repeated: int = 0


class Supervisor:
    """Runs tasks, and logs and reports their faults. Call its methods in the event loop's thread only.

    Cancellation and CommandRefused are not faults: both end the task without a traceback.
    """

    def __init__(
        self,
        log: Callable[[str, str], None],
        *,
        refused: Callable[[str], None] | None = None,
        report: OnFault | None = None,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`log`: takes level and text. `refused`: takes a refusal's message; by default it is logged as a warning.

        `report`: shows a fault to the user, in addition to the log.
        """
        self._log = log
        self._refused = refused or (lambda text: log("warning", text))
        self._report = report
        self._now_s = now_s
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()
        self._logged: dict[tuple[str, str], _FaultLog] = {}

    def run(self, what: str, work: Coroutine[Any, Any, None], on_fault: OnFault | None = None) -> asyncio.Task[None]:
        """Runs the coroutine in a task. `what` names it in the log; `on_fault` is called with its fault."""
        return self._task(self.guard(what, work, on_fault))

    def keep_running(
        self, what: str, work: Callable[[], Coroutine[Any, Any, None]], on_fault: OnFault | None = None
    ) -> asyncio.Task[None]:
        """Runs the coroutine function in a task, and again after each fault, with a pause in between."""
        return self._task(self._run_and_restart(what, work, on_fault))

    async def guard(self, what: str, work: Awaitable[None], on_fault: OnFault | None = None) -> None:
        """Awaits `work`. A fault is logged and reported, and not raised."""
        try:
            await work
        except CommandRefused as refusal:
            self._refused(str(refusal))
        except Exception as error:
            self.fault(what, error, on_fault)

    def call(self, what: str, function: Callable[[Any], object], argument: Any) -> None:
        """Calls `function`. A fault is logged and reported, and not raised."""
        try:
            function(argument)
        except CommandRefused as refusal:
            self._refused(str(refusal))
        except Exception as error:
            self.fault(what, error)

    def watch(self, what: str, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """Logs and reports the fault of a task that was created elsewhere."""

        def on_done(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and isinstance(error := task.exception(), Exception):
                self.fault(what, error)

        task.add_done_callback(on_done)
        return task

    def on_loop_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception handler for the event loop, which reports faults of callbacks and of tasks never awaited."""
        error = context.get("exception")
        if isinstance(error, Exception):
            self._log("debug", str(context.get("message", "")))
            self.fault("the event loop", error)
        else:
            loop.default_exception_handler(context)

    def fault(self, what: str, error: Exception, on_fault: OnFault | None = None) -> str:
        """Logs the traceback, and reports and returns one sentence."""
        sentence = f"{what} failed: {type(error).__name__}: {error}"
        if self._should_log(what, error):
            repeated = self._logged[what, type(error).__name__].repeated
            self._log("error", sentence + (f" ({repeated:,} more of this kind before)" if repeated else ""))
            for part in traceback.format_exception(error):
                for text in part.rstrip().splitlines():
                    self._log("debug", text)
            self._logged[what, type(error).__name__].repeated = 0
        for callback in (self._report, on_fault):
            if callback is not None:
                self._notify(callback, sentence)
        return sentence

    def _should_log(self, what: str, error: Exception) -> bool:
        """Bounds the log: returns True once in SAME_FAULT_S for each kind of fault, and counts the others."""
        now_s, before = self._now_s(), self._logged.get((what, type(error).__name__))
        if before is None:
            self._logged[what, type(error).__name__] = _FaultLog(now_s)
            return True
        if now_s - before.at_s < SAME_FAULT_S:
            before.repeated += 1
            return False
        before.at_s = now_s
        return True

    def _notify(self, callback: OnFault, sentence: str) -> None:
        try:
            callback(sentence)
        except Exception as error:
            self._log("error", f"reporting a fault failed: {type(error).__name__}: {error}")

    async def _run_and_restart(
        self, what: str, work: Callable[[], Coroutine[Any, Any, None]], on_fault: OnFault | None
    ) -> None:
        pause_s = FIRST_RESTART_S
        while True:
            began_s = self._now_s()
            try:
                await work()
            except Exception as error:
                self.fault(what, error, on_fault)
            else:
                return
            if self._now_s() - began_s >= LONGEST_RESTART_S:
                pause_s = FIRST_RESTART_S
            await self._sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RESTART_S)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the event loop keeps weak references only
        task.add_done_callback(self._tasks.discard)
        return task


def to_stderr(level: str, text: str) -> None:
    """A `log` function for a process whose parent reads its standard error."""
    print(f"{level}: {text}", file=sys.stderr, flush=True)
