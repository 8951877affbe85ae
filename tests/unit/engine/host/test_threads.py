"""Threads that stand back do so alone, and what they start with them; whoever waits for one may leave at any time."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from engine.host.threads import NICENESS, Background, lower_priority, pin_to_core

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
LEAVES_EARLY = """
import asyncio, threading
from engine.host.threads import Background
begun = threading.Event()
def hang():
    begun.set()
    threading.Event().wait()
async def main():
    with Background("test") as background:
        waiting = asyncio.create_task(background.run(hang))
        await asyncio.to_thread(begun.wait)
        waiting.cancel()
        await asyncio.wait((waiting,))
        print("cancelled" if waiting.cancelled() else "not cancelled", flush=True)
asyncio.run(main())
"""


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


@on_linux
async def test_work_in_the_background_stands_back_and_so_does_what_it_starts() -> None:
    own = niceness()
    with Background("test") as background:
        assert await background.run(niceness) == min(19, own + NICENESS)
        assert await background.run(os.sched_getscheduler, 0) == os.SCHED_BATCH
        assert await background.run(started_by_this) == min(19, own + NICENESS)
    assert niceness() == own


@on_linux
async def test_standing_back_twice_is_standing_back_once() -> None:
    with Background("test") as background:
        once = await background.run(niceness)
        await background.run(lower_priority)
        assert await background.run(niceness) == once


@on_linux
async def test_a_thread_that_keeps_to_a_core_does_so_alone() -> None:
    everywhere = os.sched_getaffinity(0)
    core = max(everywhere)
    with Background("test") as background:
        await background.run(pin_to_core, core)
        assert await background.run(os.sched_getaffinity, 0) == {core}
        await background.run(pin_to_core, 1 << 14)  # there is no such core
        assert await background.run(os.sched_getaffinity, 0) == {core}
    assert os.sched_getaffinity(0) == everywhere


class Gate:
    """Work that is done when the gate opens, and what became of its result."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.released: list[tuple[str, int]] = []

    def make(self) -> str:
        """Waits for the gate."""
        self.begun.set()
        self.open.wait()
        return "made"

    def release(self, what: str) -> None:
        """Remembers what was released, and in which thread."""
        self.released.append((what, threading.get_ident()))

    async def abandoned(self, background: Background) -> None:
        """Begins the work and leaves while it runs."""
        waiting = asyncio.create_task(background.acquire(self.make, self.release))
        await asyncio.to_thread(self.begun.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


def test_a_process_ends_at_once_when_work_in_the_background_was_cancelled() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVES_EARLY], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cancelled\n", "")


async def test_what_arrives_after_its_caller_left_is_released_once_in_the_thread_that_made_it() -> None:
    gate = Gate()
    with Background("test") as background:
        await gate.abandoned(background)
        assert not gate.released
        after = asyncio.create_task(background.run(threading.get_ident))
        gate.open.set()
        assert gate.released == [("made", await after)]
    await background.ended()
    assert len(gate.released) == 1


@pytest.mark.parametrize("seen_by_the_loop", [False, True])
async def test_what_arrived_as_its_caller_left_is_released_once(seen_by_the_loop: bool) -> None:
    gate, arrived = Gate(), threading.Event()
    gate.open.set()
    with Background("test") as background:
        waiting = asyncio.create_task(background.acquire(gate.make, gate.release))
        await asyncio.sleep(0)
        background.submit(arrived.set)
        arrived.wait()  # the loop stands still, and will hear of the result before anything that it is told from now on
        if seen_by_the_loop:
            asyncio.get_running_loop().call_soon(waiting.cancel)
        else:
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await background.ended()
    assert [what for what, _ in gate.released] == ["made"]


async def test_a_result_that_its_caller_got_is_the_caller_s_own() -> None:
    gate = Gate()
    gate.open.set()
    with Background("test") as background:
        assert await background.acquire(gate.make, gate.release) == "made"
    await background.ended()
    assert not gate.released


async def test_an_error_of_the_work_reaches_its_caller_and_leaves_nothing_to_release() -> None:
    def fail() -> str:
        raise ValueError("no such model")

    gate = Gate()
    with Background("test") as background:
        with pytest.raises(ValueError, match="no such model"):
            await background.acquire(fail, gate.release)
        assert await background.run(str, 5) == "5", "the thread goes on"
    await background.ended()
    assert not gate.released


async def test_an_error_that_nobody_waits_for_any_more_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()

    def fail() -> str:
        gate.make()
        raise ValueError("no such model")

    with Background("test") as background:
        waiting = asyncio.create_task(background.run(fail))
        await asyncio.to_thread(gate.begun.wait)
        waiting.cancel()
        await asyncio.wait((waiting,))
        gate.open.set()
    await background.ended()
    assert "no such model" in caplog.text


async def test_a_release_that_fails_does_not_stop_the_thread() -> None:
    gate = Gate()

    def fail(_: str) -> None:
        raise OSError("cannot be closed")

    with Background("test") as background:
        waiting = asyncio.create_task(background.acquire(gate.make, fail))
        await asyncio.to_thread(gate.begun.wait)
        waiting.cancel()
        await asyncio.wait((waiting,))
        gate.open.set()
        assert await background.run(str, 5) == "5"
    await background.ended()


async def test_what_was_asked_before_the_block_ended_is_still_done_and_the_end_is_told() -> None:
    gate = Gate()
    with Background("test") as background:
        await gate.abandoned(background)
        done = background.submit(str, 5)
    ending = asyncio.create_task(background.ended())
    await asyncio.sleep(0)
    assert not ending.done()
    gate.open.set()
    await ending
    assert await done == "5"
    assert len(gate.released) == 1
