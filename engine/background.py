"""Threads that stand back: what computes for long gives its core at once to what answers callers.

A forward pass that is interrupted for a tenth of a millisecond ends a tenth of a millisecond later. An event loop that
has to wait for its turn holds up every request, and often every other thread too, since it holds the interpreter.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, Self, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

NICENESS = 5
"""Added to the process's own. It counts among this process's threads; beside a busy process of usual niceness it leaves
a quarter of their core, unless a control group or a session of its own holds the two apart."""


def stand_back() -> None:
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


def keep_to(core: int) -> None:
    """Lets the calling thread run on that core alone. Linux only; no effect where that is forbidden.

    A thread that computes is else moved to whichever core is free, away from its caches, whenever something short
    takes its place.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):
        os.sched_setaffinity(0, {core})


class Background:
    """One thread that stands back, for what would hold up the event loop. Pools that runtimes start in it inherit.

    A context manager: at its end no more work is taken, and what still runs is not waited for.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=stand_back)

    async def run(self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """What the call gives, in turn with whatever else was given to this thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(call, *args, **kwargs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False)
