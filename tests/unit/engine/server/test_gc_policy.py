"""Full garbage collections run between requests, or once a minute."""

import asyncio
import gc
from dataclasses import dataclass, field

import pytest

from engine.errors import PoisonedText
from engine.scheduling import BatchPolicy, Job, Scheduler
from engine.server.gc_policy import CHECK_PERIOD_S, MAX_INTERVAL_S, collect_when_idle
from tests.unit.engine.scheduling.fakes import POISON, FakeExecutor, RecordingObserver, text_of


@dataclass
class Engine:
    """(requests in flight, requests ended) at each second, the last one repeated. Records the times of collections."""

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
            await collect_when_idle(
                lambda: self._second()[0],
                lambda: self._second()[1],
                sleep=self.sleep,
                collect=lambda: self.collected_at_s.append(self.now_s),
            )
        return self.collected_at_s


async def test_it_collects_after_a_second_without_requests() -> None:
    assert await Engine([(0, 0), (3, 10), (1, 20), (0, 21)], until_s=9).run() == [4.0]


async def test_it_does_not_collect_between_two_requests_of_a_caller() -> None:
    assert await Engine([(0, 100 * second) for second in range(50)], until_s=40).run() == []


async def test_it_does_not_collect_without_requests() -> None:
    assert await Engine([(0, 7)], until_s=200).run() == []


async def test_under_load_without_a_pause_it_collects_once_a_minute() -> None:
    engine = Engine([(9_500, 100 * second) for second in range(200)], until_s=3 * MAX_INTERVAL_S)
    assert await engine.run() == [MAX_INTERVAL_S, 2 * MAX_INTERVAL_S, 3 * MAX_INTERVAL_S]
    assert CHECK_PERIOD_S < MAX_INTERVAL_S


async def test_failed_requests_leave_no_reference_cycles() -> None:
    scheduler = Scheduler([FakeExecutor()], BatchPolicy(), RecordingObserver(), name="test")

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
