"""A background thread and the threads it starts have lower priority, and awaiting one may be cancelled any time."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from engine.host.threads import NICENESS, BackgroundThread, lower_priority, pin_to_core

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux threads have priorities of their own")
CANCELS = """
import asyncio, threading
from engine.host.threads import BackgroundThread
begun = threading.Event()
def hang():
    begun.set()
    threading.Event().wait()
async def main():
    with BackgroundThread("test") as background:
        waiting = asyncio.create_task(background.run(hang))
        await asyncio.to_thread(begun.wait)
        waiting.cancel()
        await asyncio.wait((waiting,))
        print("cancelled" if waiting.cancelled() else "not cancelled", flush=True)
asyncio.run(main())
"""


def niceness() -> int:
    """The niceness of the calling thread."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def started_by_this() -> int:
    """The niceness of a thread that the calling one starts."""
    started: list[int] = []
    thread = threading.Thread(target=lambda: started.append(niceness()))
    thread.start()
    thread.join()
    return started[0]


@on_linux
async def test_a_background_thread_has_lower_priority_and_so_have_the_threads_it_starts() -> None:
    own = niceness()
    with BackgroundThread("test") as background:
        assert await background.run(niceness) == min(19, own + NICENESS)
        assert await background.run(os.sched_getscheduler, 0) == os.SCHED_BATCH
        assert await background.run(started_by_this) == min(19, own + NICENESS)
    assert niceness() == own


@on_linux
async def test_lowering_the_priority_twice_is_the_same_as_once() -> None:
    with BackgroundThread("test") as background:
        once = await background.run(niceness)
        await background.run(lower_priority)
        assert await background.run(niceness) == once


@on_linux
async def test_pinning_a_thread_to_a_core_does_not_affect_others() -> None:
    everywhere = os.sched_getaffinity(0)
    core = max(everywhere)
    with BackgroundThread("test") as background:
        await background.run(pin_to_core, core)
        assert await background.run(os.sched_getaffinity, 0) == {core}
        await background.run(pin_to_core, 1 << 14)  # there is no such core
        assert await background.run(os.sched_getaffinity, 0) == {core}
    assert os.sched_getaffinity(0) == everywhere


class Gate:
    """A call that returns when the gate opens, and a record of its released results."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.released: list[tuple[str, int]] = []

    def make(self) -> str:
        """Waits for the gate."""
        self.begun.set()
        self.open.wait()
        return "made"

    def release(self, what: str) -> None:
        """Records what was released, and in which thread."""
        self.released.append((what, threading.get_ident()))

    async def abandoned(self, background: BackgroundThread) -> None:
        """Starts the call and cancels it while it runs."""
        waiting = asyncio.create_task(background.acquire(self.make, self.release))
        await asyncio.to_thread(self.begun.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


def test_a_process_exits_at_once_when_a_call_in_the_background_was_cancelled() -> None:
    done = subprocess.run([sys.executable, "-c", CANCELS], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cancelled\n", "")


async def test_a_result_after_its_caller_was_cancelled_is_released_once_in_the_thread_that_made_it() -> None:
    gate = Gate()
    with BackgroundThread("test") as background:
        await gate.abandoned(background)
        assert not gate.released
        after = asyncio.create_task(background.run(threading.get_ident))
        gate.open.set()
        assert gate.released == [("made", await after)]
    await background.ended()
    assert len(gate.released) == 1


@pytest.mark.parametrize("seen_by_the_loop", [False, True])
async def test_a_result_that_arrives_as_its_caller_is_cancelled_is_released_once(seen_by_the_loop: bool) -> None:
    gate, arrived = Gate(), threading.Event()
    gate.open.set()
    with BackgroundThread("test") as background:
        waiting = asyncio.create_task(background.acquire(gate.make, gate.release))
        await asyncio.sleep(0)
        background.submit(arrived.set)
        arrived.wait()  # the loop is blocked, so it processes the result before any callback scheduled from here on
        if seen_by_the_loop:
            asyncio.get_running_loop().call_soon(waiting.cancel)
        else:
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await background.ended()
    assert [what for what, _ in gate.released] == ["made"]


async def test_a_result_that_its_caller_received_is_not_released() -> None:
    gate = Gate()
    gate.open.set()
    with BackgroundThread("test") as background:
        assert await background.acquire(gate.make, gate.release) == "made"
    await background.ended()
    assert not gate.released


async def test_an_error_of_the_call_reaches_its_caller_and_leaves_nothing_to_release() -> None:
    def fail() -> str:
        raise ValueError("no such model")

    gate = Gate()
    with BackgroundThread("test") as background:
        with pytest.raises(ValueError, match="no such model"):
            await background.acquire(fail, gate.release)
        assert await background.run(str, 5) == "5", "the thread continues"
    await background.ended()
    assert not gate.released


async def test_an_error_of_an_abandoned_call_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()

    def fail() -> str:
        gate.make()
        raise ValueError("no such model")

    with BackgroundThread("test") as background:
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

    with BackgroundThread("test") as background:
        waiting = asyncio.create_task(background.acquire(gate.make, fail))
        await asyncio.to_thread(gate.begun.wait)
        waiting.cancel()
        await asyncio.wait((waiting,))
        gate.open.set()
        assert await background.run(str, 5) == "5"
    await background.ended()


async def test_calls_queued_before_the_block_exits_still_run_and_the_end_is_reported() -> None:
    gate = Gate()
    with BackgroundThread("test") as background:
        await gate.abandoned(background)
        done = background.submit(str, 5)
    ending = asyncio.create_task(background.ended())
    await asyncio.sleep(0)
    assert not ending.done()
    gate.open.set()
    await ending
    assert await done == "5"
    assert len(gate.released) == 1
