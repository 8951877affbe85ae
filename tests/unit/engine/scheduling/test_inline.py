"""A single caller's requests run inline on the event loop, without cost for concurrent callers."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest

from engine.errors import PoisonedText, Unavailable
from engine.scheduling import BatchPolicy, InlinePolicy, Scheduler, TokenIds, Vectors
from engine.scheduling.inline import (
    INLINE_AFTER_REQUESTS,
    MAX_INLINE_PASS_S,
    MAX_INLINE_TOKENS,
    MAX_POLL_S,
    RECHECK_EVERY_REQUESTS,
    RECHECK_REQUESTS,
)
from tests.unit.engine.scheduling.conftest import MakeScheduler
from tests.unit.engine.scheduling.fakes import (
    POISON,
    FakeExecutor,
    GatedExecutor,
    ManualClock,
    RecordingObserver,
    text_of,
)

MARK = 77


class ThreadRecordingExecutor(FakeExecutor):
    """Records which of its batches ran in the event loop's thread. A pass advances the clock by `takes_s`."""

    def __init__(self, clock: ManualClock, takes_s: float = 0.0) -> None:
        super().__init__()
        self._loop_thread = threading.get_ident()
        self._clock = clock
        self._takes_s = takes_s
        self.ran_inline: list[bool] = []

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        self.ran_inline.append(threading.get_ident() == self._loop_thread)
        self._clock.now += self._takes_s
        return super().__call__(texts)


async def ask(scheduler: Scheduler, requests: int, length: int = 9) -> None:
    """Sends the requests of one caller in sequence, each when the instance is idle again."""
    for _ in range(requests):
        while not scheduler.stats().idle_instances:  # noqa: ASYNC110 - a waiting thread sends no signal
            await asyncio.sleep(0)
        await scheduler.submit([text_of(length)])


@pytest.fixture
async def executor(clock: ManualClock) -> ThreadRecordingExecutor:
    return ThreadRecordingExecutor(clock)


@pytest.fixture
async def scheduler(make_scheduler: MakeScheduler, executor: ThreadRecordingExecutor) -> Scheduler:
    return make_scheduler(executor, inline=InlinePolicy(may_poll=False))


async def test_consecutive_requests_without_overlap_run_inline(
    scheduler: Scheduler, executor: ThreadRecordingExecutor
) -> None:
    await ask(scheduler, 2 * INLINE_AFTER_REQUESTS)
    assert executor.ran_inline == [False] * INLINE_AFTER_REQUESTS + [True] * INLINE_AFTER_REQUESTS


async def test_requests_go_to_an_instance_again_at_regular_intervals(
    scheduler: Scheduler, executor: ThreadRecordingExecutor
) -> None:
    await ask(scheduler, 3 * RECHECK_EVERY_REQUESTS)
    changes = [at for at, (before, after) in enumerate(pairwise(executor.ran_inline), start=1) if before != after]
    assert changes == [
        INLINE_AFTER_REQUESTS,
        RECHECK_EVERY_REQUESTS,
        RECHECK_EVERY_REQUESTS + RECHECK_REQUESTS,
        2 * RECHECK_EVERY_REQUESTS,
        2 * RECHECK_EVERY_REQUESTS + RECHECK_REQUESTS,
    ]


async def test_concurrent_requests_end_inline_execution(
    scheduler: Scheduler, executor: ThreadRecordingExecutor
) -> None:
    await ask(scheduler, 2 * INLINE_AFTER_REQUESTS)
    executor.ran_inline.clear()
    first, second = scheduler.submit([text_of(5)]), scheduler.submit([text_of(6)])
    await first
    await second
    await ask(scheduler, INLINE_AFTER_REQUESTS)
    assert not any(executor.ran_inline)


@pytest.mark.parametrize("length", [MAX_INLINE_TOKENS + 1, 400])
async def test_a_long_text_never_runs_inline(
    scheduler: Scheduler, executor: ThreadRecordingExecutor, length: int
) -> None:
    await ask(scheduler, 2 * INLINE_AFTER_REQUESTS)
    executor.ran_inline.clear()
    await ask(scheduler, 5, length)
    assert not any(executor.ran_inline)


async def test_a_slow_model_never_runs_inline(make_scheduler: MakeScheduler, clock: ManualClock) -> None:
    slow = ThreadRecordingExecutor(clock, takes_s=1.1 * MAX_INLINE_PASS_S)
    await ask(make_scheduler(slow, inline=InlinePolicy(may_poll=False)), RECHECK_EVERY_REQUESTS)
    assert not any(slow.ran_inline)


async def test_a_maximum_wait_turns_inline_execution_off(make_scheduler: MakeScheduler, clock: ManualClock) -> None:
    patient = ThreadRecordingExecutor(clock)
    scheduler = make_scheduler(
        patient, policy=BatchPolicy(max_wait_s=1.0, max_batch_items=1), inline=InlinePolicy(may_poll=False)
    )
    await ask(scheduler, 2 * INLINE_AFTER_REQUESTS)
    assert not any(patient.ran_inline)


async def test_without_an_inline_policy_nothing_runs_inline(make_scheduler: MakeScheduler, clock: ManualClock) -> None:
    kept = ThreadRecordingExecutor(clock)
    await ask(make_scheduler(kept), 2 * INLINE_AFTER_REQUESTS)
    assert not any(kept.ran_inline)


async def test_a_poison_text_fails_inline_as_in_an_instance(
    scheduler: Scheduler, executor: ThreadRecordingExecutor
) -> None:
    await ask(scheduler, 2 * INLINE_AFTER_REQUESTS)
    with pytest.raises(PoisonedText):
        await scheduler.submit([text_of(7, mark=POISON)])
    assert executor.ran_inline[-1]
    await ask(scheduler, 1)


async def test_nothing_runs_inline_while_an_instance_is_busy(make_scheduler: MakeScheduler, clock: ManualClock) -> None:
    class Held(ThreadRecordingExecutor):
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
    scheduler = make_scheduler(*executors, inline=InlinePolicy(may_poll=False))
    await ask(scheduler, INLINE_AFTER_REQUESTS - 1)
    left = scheduler.submit([text_of(7, mark=MARK)])
    await Held.held.wait()
    left.cancel()  # no request is in flight any more, but the forward pass still runs
    await ask(scheduler, 3)
    assert not any(ran for executor in executors for ran in executor.ran_inline)
    Held.let.set()
    while scheduler.stats().idle_instances < len(executors):  # noqa: ASYNC110 - a waiting thread sends no signal
        await asyncio.sleep(0)
    await ask(scheduler, 3)
    assert sum(ran for executor in executors for ran in executor.ran_inline) == 3


async def test_a_fault_in_an_inline_pass_fails_its_request(
    make_scheduler: MakeScheduler, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Panic(BaseException):
        """An exception of a runtime written in another language."""

    class PanickingExecutor(ThreadRecordingExecutor):
        def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
            if POISON in texts[0]:
                raise Panic
            return super().__call__(texts)

    scheduler = make_scheduler(PanickingExecutor(clock), inline=InlinePolicy(may_poll=False))
    await ask(scheduler, 2 * INLINE_AFTER_REQUESTS)
    with pytest.raises(Unavailable, match="again"):
        await scheduler.submit([text_of(7, mark=POISON)])
    assert "the event loop failed to run a text of test" in caplog.text
    await ask(scheduler, 2 * INLINE_AFTER_REQUESTS)


async def test_a_queue_that_breaks_inline_fails_no_request(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(scheduler, 2 * INLINE_AFTER_REQUESTS)

    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(scheduler._dispatch._queue, "take", broken)
    await ask(scheduler, 2 * INLINE_AFTER_REQUESTS)


class CountingClock(ManualClock):
    """Counts its readings: a loop that polls reads it in every iteration."""

    readings = 0

    def __call__(self) -> float:
        self.readings += 1
        return super().__call__()

    async def is_polled(self) -> bool:
        """Whether the idle loop reads it in every iteration."""
        before = self.readings
        for _ in range(10):
            await asyncio.sleep(0)
        return self.readings - before >= 10


@pytest.fixture
def counting_clock() -> CountingClock:
    return CountingClock()


@pytest.fixture
async def polling(counting_clock: CountingClock, observer: RecordingObserver) -> AsyncIterator[Scheduler]:
    """A scheduler whose loop may poll."""
    inline = InlinePolicy(may_poll=True)
    scheduler = Scheduler([FakeExecutor()], BatchPolicy(), observer, name="test", clock=counting_clock, inline=inline)
    yield scheduler
    await scheduler.close()


async def test_the_loop_polls_where_requests_follow_at_once(polling: Scheduler, counting_clock: CountingClock) -> None:
    await ask(polling, INLINE_AFTER_REQUESTS - 1)
    assert not await counting_clock.is_polled(), "too few requests so far"
    await ask(polling, 1)
    assert await counting_clock.is_polled()
    counting_clock.now += MAX_POLL_S
    assert not await counting_clock.is_polled(), "no request arrived within that time"
    await ask(polling, 1)
    assert await counting_clock.is_polled(), "most requests still follow at once"


async def test_the_loop_sleeps_where_requests_follow_late(polling: Scheduler, counting_clock: CountingClock) -> None:
    for _ in range(3 * INLINE_AFTER_REQUESTS):
        counting_clock.now += 1.1 * MAX_POLL_S
        await ask(polling, 1)
    assert not await counting_clock.is_polled()


async def test_the_loop_sleeps_after_concurrent_requests(polling: Scheduler, counting_clock: CountingClock) -> None:
    await ask(polling, INLINE_AFTER_REQUESTS + 1)
    await asyncio.gather(polling.submit([text_of(5)]), polling.submit([text_of(6)]))
    assert not await counting_clock.is_polled()


async def test_the_loop_sleeps_while_an_instance_is_busy(
    counting_clock: CountingClock, observer: RecordingObserver
) -> None:
    executor = GatedExecutor()
    inline = InlinePolicy(may_poll=True)
    scheduler = Scheduler([executor], BatchPolicy(), observer, name="test", clock=counting_clock, inline=inline)
    executor.let(INLINE_AFTER_REQUESTS)
    await ask(scheduler, INLINE_AFTER_REQUESTS)
    assert await counting_clock.is_polled()
    left = scheduler.submit([text_of(MAX_INLINE_TOKENS + 1)])  # too long for the loop
    while len((await executor.begun())[0]) <= MAX_INLINE_TOKENS:
        continue
    assert not await counting_clock.is_polled()
    left.cancel()
    executor.let()
    while not scheduler.stats().idle_instances:  # noqa: ASYNC110 - a waiting thread sends no signal
        await asyncio.sleep(0)
    assert not await counting_clock.is_polled(), "no request was answered, so none follows"
    await scheduler.close()


async def test_the_loop_sleeps_once_the_deployment_is_closed(polling: Scheduler, counting_clock: CountingClock) -> None:
    await ask(polling, INLINE_AFTER_REQUESTS + 1)
    await polling.close()
    assert not await counting_clock.is_polled()


async def test_the_loop_never_polls_where_it_may_not(
    counting_clock: CountingClock, observer: RecordingObserver
) -> None:
    inline = InlinePolicy(may_poll=False)
    scheduler = Scheduler([FakeExecutor()], BatchPolicy(), observer, name="test", clock=counting_clock, inline=inline)
    await ask(scheduler, 2 * INLINE_AFTER_REQUESTS)
    assert not await counting_clock.is_polled()
    await scheduler.close()
