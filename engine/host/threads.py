"""Threads of lower priority: threads that compute for long are preempted by those that answer requests.

Preempting a forward pass for 0.1 ms delays it by 0.1 ms. An event loop that waits for a core delays every request, and
often every other thread too, because it holds the interpreter lock.
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
"""Added to the niceness of the process. It orders the threads of this process.

A thread that competes for a core with a busy process of default niceness gets a quarter of it, unless the two are in
different control groups or sessions.
"""


def lower_priority() -> None:
    """Lowers the priority of the calling thread, and of the threads that it starts from now on.

    Linux only, where each thread has its own priority. Has no effect if the system forbids it.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:  # keeps SCHED_IDLE
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # does not preempt others on wake-up
    with suppress(OSError):
        own = os.getpriority(os.PRIO_PROCESS, os.getpid())
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + NICENESS)


def pin_to_core(core: int) -> None:
    """Pins the calling thread to a core. Linux only; has no effect if the system forbids it.

    Otherwise the system moves a computing thread to a free core, away from its caches, whenever a short task preempts
    it.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):
        os.sched_setaffinity(0, {core})


class _Call(Generic[Result]):
    """A queued call, and its result once it has run."""

    def __init__(self, call: Callable[[], Result], loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Result] = loop.create_future()
        self._call = call
        self._loop = loop
        self._result: list[Result] = []  # empty until the call has returned

    def __call__(self) -> None:
        """Runs the call and passes its result to the event loop."""
        error: BaseException | None = None
        try:
            self._result.append(self._call())
        except BaseException as fault:  # of any kind: a caller awaits the future, and other calls are queued
            error = fault
        with suppress(RuntimeError):  # the loop is closed, because the process exits
            self._loop.call_soon_threadsafe(self._settle, error)

    def release(self, release: Callable[[Result], None]) -> None:
        """Passes the result to `release`, if there is one. Called in the thread that ran the call."""
        if self._result:
            release(self._result.pop())

    def _settle(self, error: BaseException | None) -> None:
        if error is None and not self.future.done():
            self.future.set_result(self._result[0])
        elif error is not None and not self.future.done():
            self.future.set_exception(error)
        elif error is not None:
            _log.warning("an abandoned call failed", exc_info=error)


class BackgroundThread:
    """A thread of lower priority for calls that would block the event loop.

    Thread pools that a runtime starts in it inherit the priority.

    A context manager, to be entered in a running event loop. When the block exits, no more calls are accepted; queued
    calls still run in order, and the block does not wait for them. The thread does not delay the exit of the process.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._ended = asyncio.Event()
        # A daemon thread, because the threads of an executor are joined before the process exits.
        self._thread = threading.Thread(target=self._run_calls, name=name, daemon=True)

    async def run(self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Runs the call in the thread, after the calls queued before it, and returns its result.

        When cancelled, returns at once; the call still runs, and its result is dropped.
        """
        return await self.submit(call, *args, **kwargs)

    async def acquire(self, make: Callable[[], Result], release: Callable[[Result], None]) -> Result:
        """Like `run`, for a result that must be released. The caller owns the returned result.

        When cancelled, the thread calls `release` with the result, once, as soon as `make` returns.
        """
        call = _Call(make, self._loop)
        self._calls.put(call)
        try:
            return await call.future
        except BaseException:  # cancelled or closed; after an error of `make` there is nothing to release
            # The thread runs calls in order, so `make` has returned before `release` is called.
            self.submit(call.release, release)
            raise

    def submit(
        self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> asyncio.Future[Result]:
        """Queues the call and returns a future for its result, which need not be awaited."""
        queued = _Call(partial(call, *args, **kwargs), self._loop)
        self._calls.put(queued)
        return queued.future

    @property
    def has_ended(self) -> bool:
        """Whether the block has exited and all calls have run."""
        return self._ended.is_set()

    async def ended(self) -> None:
        """Waits until the block has exited and all calls have run."""
        await self._ended.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.put(None)

    def _run_calls(self) -> None:
        lower_priority()
        while self._run_next():
            pass
        with suppress(RuntimeError):  # the loop is closed, because the process exits
            self._loop.call_soon_threadsafe(self._ended.set)

    def _run_next(self) -> bool:
        """Runs the next call. Returns False at the end of the queue.

        A separate method, so that no local variable keeps a result alive while the thread waits.
        """
        call = self._calls.get()
        if call is not None:
            call()
        return call is not None
