"""A call that is still open when the engine ends fails with the reason, and one that its caller ends is cancelled."""

import asyncio

import pytest

from engine.errors import Unavailable
from engine.pipeline.open_calls import OpenCalls

REASON = "the engine has ended: use another engine"


async def waits(calls: OpenCalls) -> None:
    with calls.open():
        await asyncio.Event().wait()


async def opened(calls: OpenCalls, count: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(waits(calls)) for _ in range(count)]
    await asyncio.sleep(0)
    assert len(calls) == count
    return tasks


async def test_open_calls_are_ended_with_the_reason() -> None:
    calls = OpenCalls()
    tasks = await opened(calls, 3)
    calls.end_all(REASON)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == [REASON] * 3
    assert {type(result) for result in results} == {Unavailable}
    assert [task.cancelling() for task in tasks] == [0] * 3
    assert len(calls) == 0


async def test_a_call_whose_caller_leaves_is_cancelled() -> None:
    calls = OpenCalls()
    (task,) = await opened(calls, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(calls) == 0


async def test_a_call_that_raises_keeps_its_error() -> None:
    calls = OpenCalls()
    with pytest.raises(ValueError, match="as it was"), calls.open():
        raise ValueError("as it was")
    assert len(calls) == 0
