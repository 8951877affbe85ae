"""Fixtures: schedulers on a manual clock, closed after the test."""

from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from engine.scheduling import BatchPolicy, Executor, InlinePolicy, Scheduler
from tests.unit.engine.scheduling.fakes import GatedExecutor, ManualClock, RecordingObserver

MakeScheduler = Callable[..., Scheduler]


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def make_scheduler(observer: RecordingObserver, clock: ManualClock) -> AsyncIterator[MakeScheduler]:
    """Creates schedulers on the manual clock. Opens every gate and closes them after the test."""
    made: list[tuple[Scheduler, Sequence[Executor]]] = []

    def make(*executors: Executor, policy: BatchPolicy | None = None, inline: InlinePolicy | None = None) -> Scheduler:
        scheduler = Scheduler(executors, policy or BatchPolicy(), observer, name="test", clock=clock, inline=inline)
        made.append((scheduler, executors))
        return scheduler

    yield make
    for scheduler, executors in made:
        for executor in executors:
            if isinstance(executor, GatedExecutor):
                executor.let(10_000)
        await scheduler.close()
