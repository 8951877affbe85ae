"""Looking for garbage never stops a request, and never stops for good."""

import asyncio
import gc
from dataclasses import dataclass, field

import pytest

from engine.errors import PoisonedText
from engine.scheduling import BatchPolicy, Job, Scheduler
from engine.server.gc_policy import LONGEST_S, PERIOD_S, collect_quietly
from tests.unit.engine.scheduling.fakes import POISON, FakeExecutor, Ledger, text_of


@dataclass
class Engine:
    """Requests in flight and ended at each second; the last one stays. Notes when it was collected."""

    seconds: list[tuple[int, int]]
    until_s: float
    now_s: float = 0.0
    collected_at_s: list[float] = field(default_factory=list)

    def _second(self) -> tuple[int, int]:
        return self.seconds[min(int(self.now_s), len(self.seconds) - 1)]

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.now_s > self.until_s:
            raise asyncio.CancelledError

    async def run(self) -> list[float]:
        with pytest.raises(asyncio.CancelledError):
            await collect_quietly(
                lambda: self._second()[0],
                lambda: self._second()[1],
                sleep=self.sleep,
                collect=lambda: self.collected_at_s.append(self.now_s),
            )
        return self.collected_at_s


async def test_it_waits_for_a_second_without_requests() -> None:
    assert await Engine([(0, 0), (3, 10), (1, 20), (0, 21)], until_s=9).run() == [4.0]


async def test_a_caller_who_is_between_two_requests_is_not_stopped() -> None:
    assert await Engine([(0, 100 * second) for second in range(50)], until_s=40).run() == []


async def test_an_idle_engine_is_left_alone() -> None:
    assert await Engine([(0, 7)], until_s=200).run() == []


async def test_load_without_a_pause_is_interrupted_once_a_minute() -> None:
    engine = Engine([(9_500, 100 * second) for second in range(200)], until_s=3 * LONGEST_S)
    assert await engine.run() == [LONGEST_S, 2 * LONGEST_S, 3 * LONGEST_S]
    assert PERIOD_S < LONGEST_S


async def test_failed_requests_leave_no_circles_behind() -> None:
    scheduler = Scheduler([FakeExecutor()], BatchPolicy(), Ledger(), name="test")

    async def ask() -> None:
        job = scheduler.submit([text_of(4, mark=POISON)])
        with pytest.raises(PoisonedText):
            await job

    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            await ask()
        assert sum(isinstance(one, Job) for one in gc.get_objects()) <= 1  # the last one may still be at hand
    finally:
        gc.enable()
        await scheduler.close()
