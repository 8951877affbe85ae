"""Memory goes back to the system after the process has grown, also when it is freed long after."""

import asyncio

import pytest

from engine.server.memory_policy import DELAYS_S, GROWTH_BYTES, trim_after_growth

BEFORE = 200 << 20


class Heap:
    """A process whose freed memory stays resident until it is trimmed. `sizes`: what is in use after each second."""

    def __init__(self, *used: int) -> None:
        self.resident = BEFORE
        self._used = list(used)
        self._now_s = 0.0
        self.trims = 0

    def _in_use(self) -> int:
        return BEFORE + self._used[min(int(self._now_s), len(self._used) - 1)]

    async def sleep(self, delay_s: float) -> None:
        if self._now_s > 1000:
            raise asyncio.CancelledError
        self._now_s += delay_s
        self.resident = max(self.resident, self._in_use())

    def trim(self) -> None:
        self.trims += 1
        self.resident = self._in_use()


async def life(heap: Heap) -> None:
    with pytest.raises(asyncio.CancelledError):
        await trim_after_growth(lambda: heap.resident, heap.trim, sleep=heap.sleep)


@pytest.mark.parametrize("seconds_in_use", [1, 5, 40])
async def test_what_a_burst_took_is_given_back_whenever_it_is_freed(seconds_in_use: int) -> None:
    heap = Heap(0, *[10 * GROWTH_BYTES] * seconds_in_use, 0)
    await life(heap)
    assert heap.resident == BEFORE
    assert heap.trims <= 2 * len(DELAYS_S)


async def test_a_steady_process_is_never_trimmed() -> None:
    heap = Heap(0, GROWTH_BYTES // 2, 0, GROWTH_BYTES // 2, 0)
    await life(heap)
    assert heap.trims == 0


async def test_a_process_that_stays_larger_is_not_trimmed_for_ever() -> None:
    heap = Heap(0, 10 * GROWTH_BYTES)
    await life(heap)
    assert heap.trims == len(DELAYS_S)
