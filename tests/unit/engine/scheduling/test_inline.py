"""Who asks alone is served without thread hops, and nobody else pays for it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest

from engine.errors import PoisonedText, Unavailable
from engine.scheduling import BatchPolicy, InlinePolicy, Scheduler, TokenIds, Vectors
from engine.scheduling.inline import AWAKE_S, LONGEST_PASS_S, LOOKS, MAX_TOKENS, PERIOD, PROBES
from tests.unit.engine.scheduling.conftest import MakeScheduler
from tests.unit.engine.scheduling.fakes import POISON, FakeExecutor, GatedExecutor, HandClock, Ledger, text_of

MARK = 77


class Watched(FakeExecutor):
    """Knows which of its batches ran in the event loop's thread. A pass takes `takes_s` of the clock."""

    def __init__(self, clock: HandClock, takes_s: float = 0.0) -> None:
        super().__init__()
        self._loop_thread = threading.get_ident()
        self._clock = clock
        self._takes_s = takes_s
        self.in_the_loop: list[bool] = []

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        self.in_the_loop.append(threading.get_ident() == self._loop_thread)
        self._clock.now += self._takes_s
        return super().__call__(texts)


async def ask(scheduler: Scheduler, requests: int, length: int = 9) -> None:
    """One caller's requests, one after the other, each when the instance is idle again."""
    for _ in range(requests):
        while not scheduler.stats().idle_instances:  # noqa: ASYNC110 - a thread tells nobody that it waits
            await asyncio.sleep(0)
        await scheduler.submit([text_of(length)])


@pytest.fixture
async def watched(clock: HandClock) -> Watched:
    return Watched(clock)


@pytest.fixture
async def scheduler(make_scheduler: MakeScheduler, watched: Watched) -> Scheduler:
    return make_scheduler(watched, inline=InlinePolicy(may_stay_awake=False))


async def test_requests_that_meet_nobody_are_soon_run_by_the_loop(scheduler: Scheduler, watched: Watched) -> None:
    await ask(scheduler, 2 * PROBES)
    assert watched.in_the_loop == [False] * PROBES + [True] * PROBES


async def test_the_instances_look_for_company_again_and_again(scheduler: Scheduler, watched: Watched) -> None:
    await ask(scheduler, 3 * PERIOD)
    changes = [at for at, (before, after) in enumerate(pairwise(watched.in_the_loop), start=1) if before != after]
    assert changes == [PROBES, PERIOD, PERIOD + LOOKS, 2 * PERIOD, 2 * PERIOD + LOOKS]


async def test_two_callers_are_the_instances_and_so_are_the_next(scheduler: Scheduler, watched: Watched) -> None:
    await ask(scheduler, 2 * PROBES)
    watched.in_the_loop.clear()
    first, second = scheduler.submit([text_of(5)]), scheduler.submit([text_of(6)])
    await first
    await second
    await ask(scheduler, PROBES)
    assert not any(watched.in_the_loop)


@pytest.mark.parametrize("length", [MAX_TOKENS + 1, 400])
async def test_a_long_text_never_holds_up_the_loop(scheduler: Scheduler, watched: Watched, length: int) -> None:
    await ask(scheduler, 2 * PROBES)
    watched.in_the_loop.clear()
    await ask(scheduler, 5, length)
    assert not any(watched.in_the_loop)


async def test_a_slow_model_never_holds_up_the_loop(make_scheduler: MakeScheduler, clock: HandClock) -> None:
    slow = Watched(clock, takes_s=1.1 * LONGEST_PASS_S)
    await ask(make_scheduler(slow, inline=InlinePolicy(may_stay_awake=False)), PERIOD)
    assert not any(slow.in_the_loop)


async def test_who_waits_for_fuller_batches_waits_alone_too(make_scheduler: MakeScheduler, clock: HandClock) -> None:
    patient = Watched(clock)
    scheduler = make_scheduler(
        patient, policy=BatchPolicy(max_wait_s=1.0, max_batch_items=1), inline=InlinePolicy(may_stay_awake=False)
    )
    await ask(scheduler, 2 * PROBES)
    assert not any(patient.in_the_loop)


async def test_executors_that_are_not_lent_stay_with_their_threads(
    make_scheduler: MakeScheduler, clock: HandClock
) -> None:
    kept = Watched(clock)
    await ask(make_scheduler(kept), 2 * PROBES)
    assert not any(kept.in_the_loop)


async def test_a_poisoned_text_fails_in_the_loop_as_anywhere(scheduler: Scheduler, watched: Watched) -> None:
    await ask(scheduler, 2 * PROBES)
    with pytest.raises(PoisonedText):
        await scheduler.submit([text_of(7, mark=POISON)])
    assert watched.in_the_loop[-1]
    await ask(scheduler, 1)


async def test_nothing_is_borrowed_while_an_instance_works(make_scheduler: MakeScheduler, clock: HandClock) -> None:
    class Held(Watched):
        """A pass of a marked text is held up."""

        let = threading.Event()
        held = asyncio.Event()
        loop = asyncio.get_running_loop()

        def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
            if MARK in texts[0]:
                self.loop.call_soon_threadsafe(self.held.set)
                self.let.wait()
            return super().__call__(texts)

    executors = Held(clock), Held(clock)
    scheduler = make_scheduler(*executors, inline=InlinePolicy(may_stay_awake=False))
    await ask(scheduler, PROBES - 1)
    left = scheduler.submit([text_of(7, mark=MARK)])
    await Held.held.wait()
    left.cancel()  # its caller is gone, and nothing is in flight any more, but its pass still runs
    await ask(scheduler, 3)
    assert not any(ran for executor in executors for ran in executor.in_the_loop)
    Held.let.set()
    while scheduler.stats().idle_instances < len(executors):  # noqa: ASYNC110 - a thread tells nobody that it waits
        await asyncio.sleep(0)
    await ask(scheduler, 3)
    assert sum(ran for executor in executors for ran in executor.in_the_loop) == 3


async def test_a_fault_in_the_loop_leaves_nobody_waiting(
    make_scheduler: MakeScheduler, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Panic(BaseException):
        """As a runtime written in another language raises it."""

    class Falling(Watched):
        def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
            if POISON in texts[0]:
                raise Panic
            return super().__call__(texts)

    scheduler = make_scheduler(Falling(clock), inline=InlinePolicy(may_stay_awake=False))
    await ask(scheduler, 2 * PROBES)
    with pytest.raises(Unavailable, match="again"):
        await scheduler.submit([text_of(7, mark=POISON)])
    assert "the event loop failed to run a text of test" in caplog.text
    await ask(scheduler, 2 * PROBES)


async def test_a_queue_that_breaks_in_the_loop_costs_nobody_an_answer(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(scheduler, 2 * PROBES)

    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(scheduler._dispatch._queue, "take", broken)
    await ask(scheduler, 2 * PROBES)


class ReadClock(HandClock):
    """Counts its readings: a loop that stays awake reads it in every tick."""

    readings = 0

    def __call__(self) -> float:
        self.readings += 1
        return super().__call__()

    async def is_watched(self) -> bool:
        """Whether somebody reads it now, with nothing to do."""
        before = self.readings
        for _ in range(10):
            await asyncio.sleep(0)
        return self.readings - before >= 10


@pytest.fixture
def read_clock() -> ReadClock:
    return ReadClock()


@pytest.fixture
async def awake(read_clock: ReadClock, ledger: Ledger) -> AsyncIterator[Scheduler]:
    """A scheduler whose loop may stay awake."""
    inline = InlinePolicy(may_stay_awake=True)
    scheduler = Scheduler([FakeExecutor()], BatchPolicy(), ledger, name="test", clock=read_clock, inline=inline)
    yield scheduler
    await scheduler.close()


async def test_the_loop_stays_awake_for_who_asks_again_at_once(awake: Scheduler, read_clock: ReadClock) -> None:
    await ask(awake, PROBES - 1)
    assert not await read_clock.is_watched(), "few were seen yet"
    await ask(awake, 1)
    assert await read_clock.is_watched()
    read_clock.now += AWAKE_S
    assert not await read_clock.is_watched(), "nobody came within that time"
    await ask(awake, 1)
    assert await read_clock.is_watched(), "most come at once still"


async def test_the_loop_sleeps_where_callers_take_their_time(awake: Scheduler, read_clock: ReadClock) -> None:
    for _ in range(3 * PROBES):
        read_clock.now += 1.1 * AWAKE_S
        await ask(awake, 1)
    assert not await read_clock.is_watched()


async def test_the_loop_sleeps_once_two_ask_at_a_time(awake: Scheduler, read_clock: ReadClock) -> None:
    await ask(awake, PROBES + 1)
    await asyncio.gather(awake.submit([text_of(5)]), awake.submit([text_of(6)]))
    assert not await read_clock.is_watched()


async def test_the_loop_sleeps_while_an_instance_works(read_clock: ReadClock, ledger: Ledger) -> None:
    executor = GatedExecutor()
    inline = InlinePolicy(may_stay_awake=True)
    scheduler = Scheduler([executor], BatchPolicy(), ledger, name="test", clock=read_clock, inline=inline)
    executor.let(PROBES)
    await ask(scheduler, PROBES)
    assert await read_clock.is_watched()
    left = scheduler.submit([text_of(MAX_TOKENS + 1)])  # too long for the loop
    while len((await executor.begun())[0]) <= MAX_TOKENS:
        continue
    assert not await read_clock.is_watched()
    left.cancel()
    executor.let()
    while not scheduler.stats().idle_instances:  # noqa: ASYNC110 - a thread tells nobody that it waits
        await asyncio.sleep(0)
    assert not await read_clock.is_watched(), "nobody was answered, so nobody asks again"
    await scheduler.close()


async def test_the_loop_sleeps_once_the_deployment_is_closed(awake: Scheduler, read_clock: ReadClock) -> None:
    await ask(awake, PROBES + 1)
    await awake.close()
    assert not await read_clock.is_watched()


async def test_on_a_single_core_the_loop_leaves_it_to_the_caller(read_clock: ReadClock, ledger: Ledger) -> None:
    inline = InlinePolicy(may_stay_awake=False)
    scheduler = Scheduler([FakeExecutor()], BatchPolicy(), ledger, name="test", clock=read_clock, inline=inline)
    await ask(scheduler, 2 * PROBES)
    assert not await read_clock.is_watched()
    await scheduler.close()
