"""A fault in forming, running or delivering a batch leaves nobody waiting, and what it did not touch is answered."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from engine.errors import Cancelled, EngineError, Expired, Unavailable
from engine.scheduling import BatchPolicy, BatchRecord, InlinePolicy, Job, JobResult, Scheduler, TokenIds, Vectors
from engine.scheduling.inline import PROBES
from engine.scheduling.queue import Batch, BatchQueue, Ticket
from tests.unit.engine.scheduling.conftest import MakeScheduler
from tests.unit.engine.scheduling.fakes import POISON, FakeExecutor, GatedExecutor, HandClock, Ledger, text_of

Outcomes = list[JobResult | BaseException]
ONE_TEXT_A_BATCH = BatchPolicy(max_batch_items=1)


async def outcomes(*jobs: Job) -> Outcomes:
    """What the callers got; a caller who waits for ever fails the test soon."""
    return await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 5)


async def answered(job: Job) -> bool:
    (outcome,) = await outcomes(job)
    return isinstance(outcome, JobResult)


def fail_once(monkeypatch: pytest.MonkeyPatch, name: str, damage: Callable[[BatchQueue], object] | None = None) -> None:
    """The next call of that method of a queue raises; `damage` happens to the queue before that."""
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
    """Loses every text and counts them still."""
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


async def test_a_fault_in_forming_spares_what_runs_elsewhere_and_what_no_batch_was_formed_of(
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
    while scheduler.stats().idle_instances < 3:  # noqa: ASYNC110 - a thread tells nobody that it waits
        await asyncio.sleep(0)
    job = scheduler.submit([text_of(3)] * 3)
    # It still counts texts that it lacks, and two more instances look for them.
    fail_once(monkeypatch, "take", empty)
    (outcome,) = await outcomes(job)
    assert isinstance(outcome, Unavailable)
    many = await outcomes(*(scheduler.submit([text_of(3, mark)]) for mark in range(20)))
    assert all(isinstance(outcome, JobResult) for outcome in many)
    assert scheduler.stats().queued_items == 0


async def test_a_queue_that_counts_texts_which_it_lacks_stops_nobody(make_scheduler: MakeScheduler) -> None:
    scheduler = make_scheduler(FakeExecutor())
    assert await answered(scheduler.submit([text_of(3)]))
    scheduler._dispatch._queue.items += 1
    await outcomes(scheduler.submit([text_of(4)]))
    assert await answered(scheduler.submit([text_of(5)]))


async def test_a_fault_in_forming_that_comes_every_time_answers_everybody_with_few_threads(
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


async def test_an_idle_instance_that_falls_is_replaced_if_it_ever_worked(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = GatedExecutor()
    scheduler = make_scheduler(held)
    left = scheduler.submit([text_of(3)])
    await held.begun()
    gone = scheduler.submit([text_of(4)])
    fail_once(monkeypatch, "take")
    gone.cancel()
    scheduler._dispatch._queue.items += 1  # a queue that counts a text which nobody waits for
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


class FallenObserver(Ledger):
    """Cannot count."""

    def batch_done(self, record: BatchRecord) -> None:
        raise ArithmeticError

    def items_dropped(self, expired: int, cancelled: int) -> None:
        raise ArithmeticError


async def test_an_observer_that_fails_costs_no_caller_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = Scheduler([FakeExecutor()], BatchPolicy(), FallenObserver(), name="test")
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


async def test_an_observer_that_fails_in_the_loop_s_own_pass_costs_no_caller_an_answer(clock: HandClock) -> None:
    scheduler = Scheduler(
        [FakeExecutor()], BatchPolicy(), FallenObserver(), name="test", clock=clock,
        inline=InlinePolicy(may_stay_awake=False),
    )  # fmt: skip
    for _ in range(3 * PROBES):
        while not scheduler.stats().idle_instances:  # noqa: ASYNC110 - a thread tells nobody that it waits
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


async def test_a_deadline_is_told_though_the_queue_fails_to_let_the_texts_go(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch, clock: HandClock
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
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch, clock: HandClock
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


@pytest.mark.parametrize("name", ["arrived", "ran", "all_answered"])
async def test_a_fault_in_watching_lone_texts_costs_no_caller_an_answer(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fallen(*_: object, **__: object) -> None:
        raise ArithmeticError

    scheduler = make_scheduler(FakeExecutor(), inline=InlinePolicy(may_stay_awake=False))
    with monkeypatch.context() as patched:
        patched.setattr(InlinePolicy, name, fallen)
        await outcomes(scheduler.submit([text_of(3)]))
        assert scheduler.stats().in_flight_jobs == 0
    assert await answered(scheduler.submit([text_of(3)]))


async def test_instances_serve_where_the_choice_of_the_lone_path_fails(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fallen(_: object) -> bool:
        raise ArithmeticError

    monkeypatch.setattr(InlinePolicy, "should_run_inline", property(fallen))
    scheduler = make_scheduler(FakeExecutor(), inline=InlinePolicy(may_stay_awake=False))
    assert await answered(scheduler.submit([text_of(3)]))


async def test_callers_are_told_when_no_thread_can_take_a_lost_one_s_place(
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
def test_the_process_still_ends_when_told_to_in_the_loop_s_own_pass_and_the_caller_is_answered(
    ending: type[BaseException],
) -> None:
    """In a thread with a loop of its own: such an exception ends the loop."""
    told: list[BaseException | None] = []
    ended: list[BaseException] = []

    def executor(texts: Sequence[TokenIds]) -> Vectors:
        if POISON in texts[0]:
            raise ending
        return FakeExecutor()(texts)

    async def ask() -> None:
        clock = HandClock()
        scheduler = Scheduler(
            [executor], BatchPolicy(), Ledger(), name="test", clock=clock, inline=InlinePolicy(may_stay_awake=False)
        )
        for _ in range(2 * PROBES):
            await scheduler.submit([text_of(7)])
            while not scheduler.stats().idle_instances:  # noqa: ASYNC110 - a thread tells nobody that it waits
                await asyncio.sleep(0)
        job = scheduler.submit([text_of(7, POISON)])
        job._future.add_done_callback(lambda future: told.append(future.exception()))
        try:
            await job
        finally:
            scheduler._dispatch.end()

    def own_loop() -> None:
        try:
            asyncio.run(ask())
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=own_loop)
    thread.start()
    thread.join()
    assert [type(error) for error in ended] == [ending]
    assert [type(error) for error in told] == [Unavailable]


def test_a_batch_keeps_its_texts_when_the_rest_of_a_request_is_withdrawn() -> None:
    queue = BatchQueue()
    ticket = Ticket([[1, 2], [3, 4], [5, 6]], 0.0, None)
    queue.add(ticket)
    batch = queue.take(ONE_TEXT_A_BATCH, 1, 0.0)
    assert batch is not None
    assert queue.withdraw(ticket) == 2
    assert batch.token_ids == [[1, 2]]
