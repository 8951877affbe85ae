"""When a batch is formed and what it contains, through the interface of the scheduler."""

import asyncio
from dataclasses import replace

from engine.scheduling import BatchPolicy, Scheduler
from engine.scheduling.dispatch import Dispatch
from engine.scheduling.queue import Ticket
from tests.unit.engine.scheduling.conftest import MakeScheduler
from tests.unit.engine.scheduling.fakes import FakeExecutor, GatedExecutor, ManualClock, RecordingObserver, text_of

FOREVER_S = 1e6


async def all_idle(scheduler: Scheduler, instances: int) -> None:
    """Waits until the threads have started, which they do not signal."""
    while scheduler.stats().idle_instances < instances:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0)


async def test_an_idle_instance_takes_a_single_text_without_a_timer(make_scheduler: MakeScheduler) -> None:
    executor = GatedExecutor()
    scheduler = make_scheduler(executor)  # on a clock that stands still: no wait could end
    scheduler.submit([text_of(3)])
    assert len(await executor.begun()) == 1


async def test_requests_of_one_event_loop_iteration_share_a_batch(make_scheduler: MakeScheduler) -> None:
    executor = FakeExecutor()
    scheduler = make_scheduler(executor)
    await asyncio.gather(*(scheduler.submit([text_of(5, mark)]) for mark in range(10)))
    assert [len(batch) for batch in executor.batches] == [10]


async def test_a_batch_is_formed_when_an_instance_is_free_not_when_texts_arrive(make_scheduler: MakeScheduler) -> None:
    executor = GatedExecutor()
    scheduler = make_scheduler(executor)
    scheduler.submit([text_of(5)])
    await executor.begun()
    for mark in range(6):
        scheduler.submit([text_of(5, mark)])
        await asyncio.sleep(0)  # each in a tick of its own
    assert (scheduler.stats().queued_items, scheduler.stats().queued_tokens, scheduler.stats().idle_instances) == (
        6,
        30,
        0,
    )
    executor.let()
    assert len(await executor.begun()) == 6


async def test_idle_instances_share_one_request(make_scheduler: MakeScheduler) -> None:
    executors = [GatedExecutor() for _ in range(4)]
    scheduler = make_scheduler(*executors)
    await all_idle(scheduler, 4)
    scheduler.submit([text_of(5)] * 16)
    assert [len(await executor.begun()) for executor in executors] == [4, 4, 4, 4]


async def test_with_coalescing_off_each_request_is_one_batch(
    make_scheduler: MakeScheduler, observer: RecordingObserver
) -> None:
    executor = FakeExecutor()
    scheduler = make_scheduler(executor, policy=BatchPolicy(coalesce=False))
    await asyncio.gather(*(scheduler.submit([text_of(5, mark)] * size) for mark, size in enumerate((1, 7, 3, 32))))
    assert [len(batch) for batch in executor.batches] == [1, 7, 3, 32]
    assert all(len({text[-1] for text in batch}) == 1 for batch in executor.batches)


async def test_a_changed_policy_holds_from_the_next_batch(make_scheduler: MakeScheduler) -> None:
    executor = GatedExecutor()
    scheduler = make_scheduler(executor)
    scheduler.submit([text_of(5)])
    await executor.begun()
    scheduler.submit([text_of(5)] * 20)
    scheduler.configure(replace(scheduler.policy, max_batch_items=3))
    assert scheduler.policy.max_batch_items == 3
    executor.let()
    assert len(await executor.begun()) == 3
    scheduler.configure(replace(scheduler.policy, max_batch_items=32))
    executor.let()
    assert len(await executor.begun()) == 17


async def test_a_single_text_waits_up_to_the_maximum_wait(make_scheduler: MakeScheduler, clock: ManualClock) -> None:
    executor = GatedExecutor()
    scheduler = make_scheduler(executor, policy=BatchPolicy(max_wait_s=FOREVER_S))
    for mark in range(3):
        scheduler.submit([text_of(5, mark)])
        for _ in range(20):
            await asyncio.sleep(0)
    assert scheduler.stats().queued_items == 3
    clock.now += FOREVER_S
    scheduler.configure(scheduler.policy)  # makes the instance look at the clock, which in life moves by itself
    assert len(await executor.begun()) == 3


async def test_a_full_batch_neither_waits_nor_is_divided_among_instances(make_scheduler: MakeScheduler) -> None:
    executors = [GatedExecutor(), GatedExecutor()]
    scheduler = make_scheduler(*executors, policy=BatchPolicy(max_wait_s=FOREVER_S, max_batch_items=4))
    await all_idle(scheduler, 2)
    for mark in range(4):
        scheduler.submit([text_of(5, mark)])
    begun = [asyncio.ensure_future(executor.begun()) for executor in executors]
    done, waiting = await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
    assert [len(batch.result()) for batch in done] == [4]
    for other in waiting:
        other.cancel()
    for executor in executors:
        executor.let(10)
    await scheduler.drain()
    late = scheduler.submit([text_of(5)])
    scheduler.configure(replace(scheduler.policy, max_wait_s=0.0))
    await late


def test_how_long_an_idle_instance_waits() -> None:
    clock = ManualClock(0.0)
    dispatch = Dispatch(BatchPolicy(max_wait_s=2.0, max_batch_items=3, max_batch_tokens=100), clock)
    assert dispatch._wait_s() is None
    dispatch.put(Ticket([text_of(5)], 0.0, None))
    clock.now = 0.5
    dispatch.put(Ticket([text_of(5)], 0.5, None))
    assert dispatch._wait_s() == 1.5
    clock.now = 2.0
    assert dispatch._wait_s() == 0
    clock.now = 1.0
    dispatch.put(Ticket([text_of(5)], 1.0, None))
    assert dispatch._wait_s() == 0, "three texts are a full batch"
    dispatch.configure(BatchPolicy(max_wait_s=2.0, max_batch_tokens=15))
    assert dispatch._wait_s() == 0, "and so is a full token budget"
    dispatch.configure(BatchPolicy(max_wait_s=2.0))
    assert dispatch._wait_s() == 1.0
    dispatch.configure(BatchPolicy(max_wait_s=2.0, coalesce=False))
    assert dispatch._wait_s() == 0, "without coalescing nothing could join the batch"
