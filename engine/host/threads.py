"""Threads that stand back: what computes for long gives its core at once to what answers callers.

A forward pass that is interrupted for a tenth of a millisecond ends a tenth of a millisecond later. An event loop that
has to wait for its turn holds up every request, and often every other thread too, since it holds the interpreter.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Generic, ParamSpec, Self, TypeVar

_log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

NICENESS = 5
"""Added to the process's own. It counts among this process's threads; beside a busy process of usual niceness it leaves
a quarter of their core, unless a control group or a session of its own holds the two apart."""


def lower_priority() -> None:
    """Puts the calling thread, and those that it starts from now on, behind the others of this process.

    Linux only, where threads have priorities of their own; no effect where that is forbidden.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:  # a process that was told to stand back further stays there
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # never interrupts anybody on waking
    with suppress(OSError):
        own = os.getpriority(os.PRIO_PROCESS, os.getpid())
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + NICENESS)


def pin_to_core(core: int) -> None:
    """Lets the calling thread run on that core alone. Linux only; no effect where that is forbidden.

    A thread that computes is else moved to whichever core is free, away from its caches, whenever something short
    takes its place.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):
        os.sched_setaffinity(0, {core})


class _Call(Generic[Result]):
    """One call that waits for its turn, and later its result."""

    def __init__(self, call: Callable[[], Result], loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[Result] = loop.create_future()
        self._call = call
        self._loop = loop
        self._made: list[Result] = []

    def __call__(self) -> None:
        """Makes the call; the event loop hears of the result."""
        error: BaseException | None = None
        try:
            self._made.append(self._call())
        except BaseException as fault:  # whatever it was: the thread has other work, and somebody waits for an answer
            error = fault
        with suppress(RuntimeError):  # the loop is closed: the process ends, and nobody waits
            self._loop.call_soon_threadsafe(self._settle, error)

    def release(self, release: Callable[[Result], None]) -> None:
        """Hands over what was made, if anything was. To be called in the thread that made it."""
        if self._made:
            release(self._made.pop())

    def _settle(self, error: BaseException | None) -> None:
        if error is None and not self.answer.done():
            self.answer.set_result(self._made[0])
        elif error is not None and not self.answer.done():
            self.answer.set_exception(error)
        elif error is not None:
            _log.warning("work that was abandoned failed", exc_info=error)


class Background:
    """One thread that stands back, for what would hold up the event loop. Pools that runtimes start in it inherit.

    A context manager inside a running event loop. At its end no more work is taken; what was already asked for is still
    done, one after the other, and not waited for. The thread never holds up the end of the process.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._ended = asyncio.Event()
        # A daemon, unlike the threads of an executor: those are joined before the process may end.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    async def run(self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Returns what the call returns, in turn with whatever else was given to this thread.

        Ends at once when it is cancelled; the call is made all the same, and its result is dropped.
        """
        return await self.submit(call, *args, **kwargs)

    async def acquire(self, make: Callable[[], Result], release: Callable[[Result], None]) -> Result:
        """As `run`, for a result that has to be released: the caller owns what is returned.

        When it is cancelled the thread calls `release` with the result, once, as soon as it is made.
        """
        call = _Call(make, self._loop)
        self._calls.put(call)
        try:
            return await call.answer
        except BaseException:  # cancelled, or closed; after an error of `make` there is nothing to release
            # The thread does one thing after the other: by then the result is there, whenever that was.
            self.submit(call.release, release)
            raise

    def submit(
        self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> asyncio.Future[Result]:
        """Returns at once; the future is the call's result, which nobody has to wait for."""
        waiting = _Call(partial(call, *args, **kwargs), self._loop)
        self._calls.put(waiting)
        return waiting.answer

    @property
    def has_ended(self) -> bool:
        """Whether the block is over and all work is done."""
        return self._ended.is_set()

    async def ended(self) -> None:
        """Returns when the block is over and all work is done."""
        await self._ended.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.put(None)

    def _work(self) -> None:
        lower_priority()
        while self._do_next():
            pass
        with suppress(RuntimeError):  # the loop is closed: the process ends, and nobody waits
            self._loop.call_soon_threadsafe(self._ended.set)

    def _do_next(self) -> bool:
        """Apart from the loop, so that no local variable keeps a result alive while the thread waits for work."""
        call = self._calls.get()
        if call is not None:
            call()
        return call is not None
