"""The memory of large messages is bounded over all calls."""

from contextlib import ExitStack

import pytest

from engine.doors.inbound import LARGE_BYTES, InboundMemory
from engine.errors import Overloaded


async def test_messages_over_the_bound_are_refused_with_a_time_and_fit_again_when_others_are_answered() -> None:
    memory = InboundMemory(3 * LARGE_BYTES)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(memory.hold(LARGE_BYTES))
        with pytest.raises(Overloaded) as caught, memory.hold(LARGE_BYTES):
            pass
        assert caught.value.retry_after_s
        with memory.hold(LARGE_BYTES - 1):
            assert memory.held_bytes == 3 * LARGE_BYTES, "small messages are not counted"
    assert memory.held_bytes == 0
    with memory.hold(3 * LARGE_BYTES):
        pass


async def test_a_call_that_fails_gives_its_memory_back() -> None:
    memory = InboundMemory()
    with pytest.raises(ValueError, match="a fault"), memory.hold(LARGE_BYTES):
        raise ValueError("a fault")
    assert memory.held_bytes == 0
