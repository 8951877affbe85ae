"""Threads that stand back do so alone, and what they start with them."""

import os
import sys
import threading

import pytest

from engine.background import NICENESS, Background, keep_to, stand_back

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")


def niceness() -> int:
    """Of the calling thread."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def started_by_this() -> int:
    """The niceness of a thread that the calling one starts."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(niceness()))
    thread.start()
    thread.join()
    return found[0]


async def test_work_in_the_background_stands_back_and_so_does_what_it_starts() -> None:
    own = niceness()
    with Background("test") as background:
        assert await background.run(niceness) == min(19, own + NICENESS)
        assert await background.run(os.sched_getscheduler, 0) == os.SCHED_BATCH
        assert await background.run(started_by_this) == min(19, own + NICENESS)
    assert niceness() == own


async def test_standing_back_twice_is_standing_back_once() -> None:
    with Background("test") as background:
        once = await background.run(niceness)
        await background.run(stand_back)
        assert await background.run(niceness) == once


async def test_a_thread_that_keeps_to_a_core_does_so_alone() -> None:
    everywhere = os.sched_getaffinity(0)
    core = max(everywhere)
    with Background("test") as background:
        await background.run(keep_to, core)
        assert await background.run(os.sched_getaffinity, 0) == {core}
        await background.run(keep_to, 1 << 14)  # there is no such core
        assert await background.run(os.sched_getaffinity, 0) == {core}
    assert os.sched_getaffinity(0) == everywhere
