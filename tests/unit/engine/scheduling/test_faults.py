"""After a fault in forming, running or delivering a batch, no request waits forever; unaffected ones are answered."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from engine.errors import Cancelled, EngineError, Expired, Unavailable
from engine.scheduling import BatchPolicy, BatchRecord, InlinePolicy, Job, JobResult, Scheduler, TokenIds, Vectors
from engine.scheduling.inline import INLINE_AFTER_REQUESTS
from engine.scheduling.queue import Batch, BatchQueue, Ticket
from tests.unit.engine.scheduling.conftest import MakeScheduler
from tests.unit.engine.scheduling.fakes import (
    POISON,
    FakeExecutor,
    GatedExecutor,
    ManualClock,
    RecordingObserver,
    text_of,
)

Outcomes = list[JobResult | BaseException]
ONE_TEXT_A_BATCH = BatchPolicy(max_batch_items=1)


async def outcomes(*jobs: Job) -> Outcomes:
    """The results of the jobs. A job that is not answered within 5 s fails the test."""
    return await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 5)


async def answered(job: Job) -> bool:
    (outcome,) = await outcomes(job)
    return isinstance(outcome, JobResult)


def fail_once(monkeypatch: pytest.MonkeyPatch, name: str, damage: Callable[[BatchQueue], object] | None = None) -> None:
    """Makes the next call of a method of BatchQueue raise, after `damage` has changed the queue."""
    real = getattr(BatchQueue, name)

    def broken(queue: BatchQueue, *args: object) -> object:
        monkeypatch.setattr(BatchQueue, name, real)
        if damage is not None:
            damage(queue)
        raise MemoryError

    monkeypatch.setattr(BatchQueue, name, broken)


def take_some(queue: BatchQueue) -> Batch | None:
    return queue.take(ONE_TEXT_A_BATCH, 1, 0.0)


def empty(queue: BatchQueue) -> None:
    """Removes every text and leaves the counts."""
    take_some(queue)
    queue._window.clear()


async def test_a_caller_is_answered_when_forming_its_batch_fails_after_an_answered_one(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = make_scheduler(FakeExecutor())
    assert await answered(scheduler.submit([text_of(3)]))
    fail_once(monkeypatch, "take", take_some)
    (outcome,) = await outcomes(scheduler.submit([text_of(4)]))
    assert isinstance(outcome, Unavailable)
    assert "again" in str(outcome)
    assert (scheduler.stats().in_flight_jobs, scheduler.stats().queued_items, scheduler.stats().queued_tokens) == (
        0,
        0,
        0,
    )


async def test_a_fault_in_forming_fails_neither_running_nor_untouched_requests(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    executors = [GatedExecutor(), GatedExecutor()]
    scheduler = make_scheduler(*executors, policy=ONE_TEXT_A_BATCH)
    running = [scheduler.submit([text_of(3, mark)]) for mark in (1, 2)]
    for executor in executors:
        await executor.begun()
    queued = [scheduler.submit([text_of(3, mark)]) for mark in range(3, 30)]
    fail_once(monkeypatch, "take", take_some)
    executors[0].let(1000)
    spared = await outcomes(*queued)
    assert isinstance(spared[0], Unavailable), "it was taken out of the queue and never run"
    assert all(isinstance(outcome, JobResult) for outcome in spared[-10:]), "the fault cannot have touched them"
    executors[1].let(1000)
    assert all(isinstance(outcome, JobResult) for outcome in await outcomes(*running))


async def test_a_queue_that_a_fault_left_inconsistent_is_not_used_again(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = make_scheduler(FakeExecutor(), FakeExecutor(), FakeExecutor())
    while scheduler.stats().idle_instances < 3:  # noqa: ASYNC110 - a waiting thread sends no signal
        await asyncio.sleep(0)
    job = scheduler.submit([text_of(3)] * 3)
    # It still counts texts that it lacks, and two more instances look for them.
    fail_once(monkeypatch, "take", empty)
    (outcome,) = await outcomes(job)
    assert isinstance(outcome, Unavailable)
    many = await outcomes(*(scheduler.submit([text_of(3, mark)]) for mark in range(20)))
    assert all(isinstance(outcome, JobResult) for outcome in many)
    assert scheduler.stats().queued_items == 0


async def test_a_queue_with_a_wrong_count_blocks_no_later_request(make_scheduler: MakeScheduler) -> None:
    scheduler = make_scheduler(FakeExecutor())
    assert await answered(scheduler.submit([text_of(3)]))
    scheduler._dispatch._queue.items += 1
    await outcomes(scheduler.submit([text_of(4)]))
    assert await answered(scheduler.submit([text_of(5)]))


async def test_a_fault_in_forming_every_batch_fails_all_requests_with_few_threads(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = make_scheduler(FakeExecutor())
    assert await answered(scheduler.submit([text_of(3)]))
    faults = 0

    def broken(queue: BatchQueue, *args: Any) -> None:
        nonlocal faults
        faults += 1
        take(queue, *args)
        raise MemoryError

    take = BatchQueue.take
    with monkeypatch.context() as patched:
        patched.setattr(BatchQueue, "take", broken)
        failed = await outcomes(*(scheduler.submit([text_of(3, mark)]) for mark in range(1000)))
    assert all(isinstance(outcome, Unavailable) for outcome in failed)
    assert faults <= 4
    assert await answered(scheduler.submit([text_of(5)]))


async def test_a_lost_idle_instance_is_replaced_if_it_ever_took_a_batch(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = GatedExecutor()
    scheduler = make_scheduler(held)
    left = scheduler.submit([text_of(3)])
    await held.begun()
    gone = scheduler.submit([text_of(4)])
    fail_once(monkeypatch, "take")
    gone.cancel()
    scheduler._dispatch._queue.items += 1  # the queue counts a text that it does not hold
    held.let(1000)
    assert await answered(left)
    assert await answered(scheduler.submit([text_of(5)]))


async def test_a_request_that_the_queue_refuses_is_answered(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = make_scheduler(FakeExecutor())
    fail_once(monkeypatch, "add")
    (outcome,) = await outcomes(scheduler.submit([text_of(4)]))
    assert isinstance(outcome, Unavailable)
    assert "again" in str(outcome)
    assert scheduler.stats().in_flight_jobs == 0
    assert await answered(scheduler.submit([text_of(5)]))


class FailingObserver(RecordingObserver):
    """An observer that raises."""

    def batch_done(self, record: BatchRecord) -> None:
        raise ArithmeticError

    def items_dropped(self, expired: int, cancelled: int) -> None:
        raise ArithmeticError


async def test_a_failing_observer_fails_no_request(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = Scheduler([FakeExecutor()], BatchPolicy(), FailingObserver(), name="test")
    assert await answered(scheduler.submit([text_of(3)]))
    (expired,) = await outcomes(scheduler.submit([text_of(3)], deadline_s=0.0))
    assert isinstance(expired, Expired)
    job = scheduler.submit([text_of(3)])
    job.cancel()
    (cancelled,) = await outcomes(job)
    assert isinstance(cancelled, Cancelled)
    assert await answered(scheduler.submit([text_of(3)]))
    await scheduler.close()
    assert "ArithmeticError" in caplog.text


async def test_a_failing_observer_after_an_inline_pass_fails_no_request(clock: ManualClock) -> None:
    scheduler = Scheduler(
        [FakeExecutor()], BatchPolicy(), FailingObserver(), name="test", clock=clock,
        inline=InlinePolicy(may_poll=False),
    )  # fmt: skip
    for _ in range(3 * INLINE_AFTER_REQUESTS):
        while not scheduler.stats().idle_instances:  # noqa: ASYNC110 - a waiting thread sends no signal
            await asyncio.sleep(0)
        assert await answered(scheduler.submit([text_of(7)]))
    await scheduler.close()


async def test_a_request_that_cannot_take_its_vectors_fails_alone(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Job.accept

    def accept(job: Job, *args: Any) -> bool:
        if len(job.ticket.lengths) == 2:
            raise MemoryError
        return real(job, *args)

    monkeypatch.setattr(Job, "accept", accept)
    scheduler = make_scheduler(FakeExecutor())
    jobs = [scheduler.submit([text_of(3)] * count) for count in (1, 2, 3)]
    first, second, third = await outcomes(*jobs)
    assert isinstance(second, EngineError)
    assert isinstance(first, JobResult)
    assert isinstance(third, JobResult)


async def test_a_batch_that_cannot_be_delivered_fails_its_callers(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undeliverable(*_: object) -> None:
        raise MemoryError

    scheduler = make_scheduler(FakeExecutor())
    with monkeypatch.context() as patched:
        patched.setattr(Job, "succeed", undeliverable)
        failed = await outcomes(*(scheduler.submit([text_of(3)]) for _ in range(5)))
    assert all(isinstance(outcome, Unavailable) for outcome in failed)
    assert await answered(scheduler.submit([text_of(3)]))


async def test_a_deadline_fails_its_request_although_the_queue_cannot_drop_the_texts(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    executor = GatedExecutor()
    scheduler = make_scheduler(executor)
    running = scheduler.submit([text_of(3)])
    await executor.begun()
    fail_once(monkeypatch, "withdraw")
    (late,) = await outcomes(scheduler.submit([text_of(4)], deadline_s=clock.now))
    assert isinstance(late, Expired)
    executor.let(1000)
    assert await answered(running)
    assert await answered(scheduler.submit([text_of(5)]))


async def test_a_fault_in_a_deadline_s_timer_fails_its_request(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    executor = GatedExecutor()
    scheduler = make_scheduler(executor)
    running = scheduler.submit([text_of(3)])
    await executor.begun()
    job = scheduler.submit([text_of(4)], deadline_s=clock.now + 1e-3)

    def stopped() -> float:
        raise OSError

    monkeypatch.setattr(scheduler, "_clock", stopped)
    (outcome,) = await outcomes(job)
    assert isinstance(outcome, Unavailable)
    executor.let(1000)
    assert await answered(running)


@pytest.mark.parametrize("name", ["record_arrival", "record_batch", "record_idle"])
async def test_a_fault_in_the_inline_policy_blocks_no_request(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ArithmeticError

    scheduler = make_scheduler(FakeExecutor(), inline=InlinePolicy(may_poll=False))
    with monkeypatch.context() as patched:
        patched.setattr(InlinePolicy, name, failing)
        await outcomes(scheduler.submit([text_of(3)]))
        assert scheduler.stats().in_flight_jobs == 0
    assert await answered(scheduler.submit([text_of(3)]))


async def test_instances_serve_where_the_inline_decision_fails(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: object) -> bool:
        raise ArithmeticError

    monkeypatch.setattr(InlinePolicy, "should_run_inline", property(failing))
    scheduler = make_scheduler(FakeExecutor(), inline=InlinePolicy(may_poll=False))
    assert await answered(scheduler.submit([text_of(3)]))


async def test_requests_fail_when_a_lost_thread_cannot_be_replaced(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(texts: Sequence[TokenIds]) -> Vectors:
        raise SystemExit

    scheduler = make_scheduler(dies, policy=ONE_TEXT_A_BATCH)

    def no_more_threads(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    for outcome in await outcomes(*(scheduler.submit([text_of(3)]) for _ in range(3))):
        assert isinstance(outcome, Unavailable)
    with pytest.raises(Unavailable, match="every instance was lost"):
        scheduler.submit([text_of(4)])


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
def test_an_inline_pass_that_ends_the_process_fails_its_request_first(
    ending: type[BaseException],
) -> None:
    """Runs in a thread with its own event loop, because the exception ends the loop."""
    errors: list[BaseException | None] = []
    ended: list[BaseException] = []

    def executor(texts: Sequence[TokenIds]) -> Vectors:
        if POISON in texts[0]:
            raise ending
        return FakeExecutor()(texts)

    async def ask() -> None:
        clock = ManualClock()
        scheduler = Scheduler(
            [executor],
            BatchPolicy(),
            RecordingObserver(),
            name="test",
            clock=clock,
            inline=InlinePolicy(may_poll=False),
        )
        for _ in range(2 * INLINE_AFTER_REQUESTS):
            await scheduler.submit([text_of(7)])
            while not scheduler.stats().idle_instances:  # noqa: ASYNC110 - a waiting thread sends no signal
                await asyncio.sleep(0)
        job = scheduler.submit([text_of(7, POISON)])
        job._future.add_done_callback(lambda future: errors.append(future.exception()))
        try:
            await job
        finally:
            scheduler._dispatch.close()

    def own_loop() -> None:
        try:
            asyncio.run(ask())
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=own_loop)
    thread.start()
    thread.join()
    assert [type(error) for error in ended] == [ending]
    assert [type(error) for error in errors] == [Unavailable]


def test_a_batch_keeps_its_texts_when_the_rest_of_a_request_is_withdrawn() -> None:
    queue = BatchQueue()
    ticket = Ticket([[1, 2], [3, 4], [5, 6]], 0.0, None)
    queue.add(ticket)
    batch = queue.take(ONE_TEXT_A_BATCH, 1, 0.0)
    assert batch is not None
    assert queue.withdraw(ticket) == 2
    assert batch.token_ids == [[1, 2]]
