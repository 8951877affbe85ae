"""A scheduler that every test closes, and a limit on how long any of them may hang."""

from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from engine.scheduling import BatchPolicy, Executor, InlinePolicy, Scheduler
from tests.unit.engine.scheduling.fakes import GatedExecutor, HandClock, Ledger

MakeScheduler = Callable[..., Scheduler]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def make_scheduler(ledger: Ledger, clock: HandClock) -> AsyncIterator[MakeScheduler]:
    """Schedulers on the hand-moved clock, closed at the end with every gate open."""
    made: list[tuple[Scheduler, Sequence[Executor]]] = []

    def make(*executors: Executor, policy: BatchPolicy | None = None, inline: InlinePolicy | None = None) -> Scheduler:
        scheduler = Scheduler(executors, policy or BatchPolicy(), ledger, name="test", clock=clock, inline=inline)
        made.append((scheduler, executors))
        return scheduler

    yield make
    for scheduler, executors in made:
        for executor in executors:
            if isinstance(executor, GatedExecutor):
                executor.let(10_000)
        await scheduler.close()
