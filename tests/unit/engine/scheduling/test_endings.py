"""Deadlines, cancellation, draining, closing, and resources after closing."""

import asyncio
import gc
import threading
import time
import weakref

import pytest

from engine.errors import Cancelled, Expired, Unavailable
from engine.scheduling import BatchPolicy, Scheduler
from tests.unit.engine.scheduling.conftest import MakeScheduler
from tests.unit.engine.scheduling.fakes import FakeExecutor, GatedExecutor, ManualClock, RecordingObserver, text_of

LEFT, STAYED, FIRST = 11, 12, 13


async def busy(make_scheduler: MakeScheduler) -> tuple[Scheduler, GatedExecutor]:
    """A scheduler whose only instance is in a forward pass until its gate opens."""
    executor = GatedExecutor()
    scheduler = make_scheduler(executor)
    scheduler.submit([text_of(3, FIRST)])
    await executor.begun()
    return scheduler, executor


async def test_a_cancelled_request_never_reaches_the_executor(
    make_scheduler: MakeScheduler, observer: RecordingObserver
) -> None:
    scheduler, executor = await busy(make_scheduler)
    left, stayed = scheduler.submit([text_of(4, LEFT)] * 50), scheduler.submit([text_of(5, STAYED)])
    left.cancel()
    left.cancel()
    assert (scheduler.stats().queued_items, scheduler.stats().in_flight_jobs, observer.cancelled) == (1, 2, 50)
    with pytest.raises(Cancelled):
        await left
    executor.let(2)
    await stayed
    assert {text[-1] for text in executor.texts} == {FIRST, STAYED}


async def test_cancelling_a_caller_drops_its_queued_texts(
    make_scheduler: MakeScheduler, observer: RecordingObserver
) -> None:
    scheduler, executor = await busy(make_scheduler)

    async def call() -> None:
        await scheduler.submit([text_of(4, LEFT)] * 3)

    caller = asyncio.create_task(call())
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert observer.cancelled == 3
    executor.let()
    await scheduler.drain()
    assert LEFT not in {text[-1] for text in executor.texts}


async def test_cancelling_an_answered_request_changes_nothing(
    make_scheduler: MakeScheduler, observer: RecordingObserver
) -> None:
    scheduler = make_scheduler(FakeExecutor())
    job = scheduler.submit([text_of(4)])
    await job
    job.cancel()
    assert (await job).vectors.unit.shape == (1, 4)
    assert observer.cancelled == 0


async def test_running_texts_are_not_counted_as_dropped(
    make_scheduler: MakeScheduler, observer: RecordingObserver
) -> None:
    executor = GatedExecutor()
    scheduler = make_scheduler(executor, policy=BatchPolicy(max_batch_items=2))
    job = scheduler.submit([text_of(4)] * 5)
    await executor.begun()
    job.cancel()
    assert observer.cancelled == 3
    executor.let()
    await scheduler.close()
    assert [record.items for record in observer.records] == [2]


async def test_a_deadline_fails_its_request_promptly_though_every_instance_is_busy(observer: RecordingObserver) -> None:
    executor = GatedExecutor()
    scheduler = Scheduler([executor], BatchPolicy(), observer, name="test")  # on the real clock
    first = scheduler.submit([text_of(3, FIRST)])
    await executor.begun()
    late = scheduler.submit([text_of(4, LEFT)] * 7, deadline_s=time.monotonic() + 0.02)
    with pytest.raises(Expired):
        await late
    assert (observer.expired, scheduler.stats().queued_items) == (7, 0)
    executor.let()
    await first
    await scheduler.close()
    assert {text[-1] for text in executor.texts} == {FIRST}


async def test_a_request_past_its_deadline_is_refused_on_arrival(
    make_scheduler: MakeScheduler, observer: RecordingObserver, clock: ManualClock
) -> None:
    executor = FakeExecutor()
    scheduler = make_scheduler(executor)
    with pytest.raises(Expired):
        await scheduler.submit([text_of(4)] * 2, deadline_s=clock.now)
    assert (observer.expired, scheduler.stats().in_flight_jobs, executor.batches) == (2, 0, [])


async def test_expired_texts_are_not_run_even_if_the_event_loop_is_late(
    make_scheduler: MakeScheduler, clock: ManualClock
) -> None:
    scheduler, executor = await busy(make_scheduler)
    late = scheduler.submit([text_of(4, LEFT)], deadline_s=clock.now + 0.03)
    stayed = scheduler.submit([text_of(5, STAYED)])
    clock.now += 0.03  # only the instance's thread reads this time: the loop's timer has not fired
    executor.let(2)
    await stayed
    assert LEFT not in {text[-1] for text in executor.texts}
    with pytest.raises(Expired):
        await late


async def test_an_answer_in_time_leaves_no_timer_behind(make_scheduler: MakeScheduler, clock: ManualClock) -> None:
    scheduler = make_scheduler(FakeExecutor())
    job = scheduler.submit([text_of(4)], deadline_s=clock.now + 3600)
    await job
    assert job.deadline is not None
    assert job.deadline.cancelled()


async def test_the_oldest_unanswered_request_has_an_age(make_scheduler: MakeScheduler, clock: ManualClock) -> None:
    scheduler, executor = await busy(make_scheduler)
    clock.now += 2
    scheduler.submit([text_of(4)])
    assert (scheduler.stats().in_flight_jobs, scheduler.stats().oldest_in_flight_s) == (2, 2.0)
    executor.let(2)
    await scheduler.drain()
    assert (scheduler.stats().in_flight_jobs, scheduler.stats().oldest_in_flight_s) == (0, 0.0)


async def test_drain_returns_when_the_last_request_is_answered(make_scheduler: MakeScheduler) -> None:
    scheduler, executor = await busy(make_scheduler)
    drained = asyncio.create_task(scheduler.drain())
    job = scheduler.submit([text_of(4)])
    executor.let()
    await executor.begun()
    assert not drained.done()
    executor.let()
    await drained
    assert (await job).vectors.unit.shape == (1, 4)


async def test_close_answers_what_is_queued_refuses_what_is_new_and_may_be_called_twice(
    make_scheduler: MakeScheduler,
) -> None:
    scheduler, executor = await busy(make_scheduler)
    queued = [scheduler.submit([text_of(4, mark)] * 20) for mark in range(4)]
    closing = [asyncio.create_task(scheduler.close()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        scheduler.submit([text_of(4)])
    executor.let(1000)
    assert [len((await job).vectors.unit) for job in queued] == [20] * 4
    await asyncio.gather(*closing)
    await scheduler.close()


async def test_closing_does_not_wait_for_a_fuller_batch(observer: RecordingObserver) -> None:
    scheduler = Scheduler([FakeExecutor()], BatchPolicy(max_wait_s=3600), observer, name="test")
    job = scheduler.submit([text_of(4)])
    await scheduler.close()
    assert (await job).vectors.unit.shape == (1, 4)


async def test_nothing_is_left_after_close(observer: RecordingObserver) -> None:
    before = set(threading.enumerate())
    executors = [FakeExecutor() for _ in range(3)]
    watched = [weakref.ref(executor) for executor in executors]
    scheduler = Scheduler(executors, BatchPolicy(), observer, name="test")
    assert len(set(threading.enumerate()) - before) == 3
    executors.clear()
    await asyncio.gather(*(scheduler.submit([text_of(4)] * 40) for _ in range(10)))
    await scheduler.close()
    assert set(threading.enumerate()) == before
    gc.collect()
    assert [ref() for ref in watched] == [None] * 3


async def test_the_observer_is_called_in_the_event_loops_thread_alone(
    make_scheduler: MakeScheduler, observer: RecordingObserver
) -> None:
    scheduler = make_scheduler(FakeExecutor(), FakeExecutor())
    await asyncio.gather(*(scheduler.submit([text_of(4)] * 40) for _ in range(10)))
    assert observer.threads == {threading.get_ident()}
