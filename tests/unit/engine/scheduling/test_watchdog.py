"""A forward pass that hangs is given up within its limit, its instance replaced, and a hung event loop is noticed."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from engine.errors import Unavailable
from engine.scheduling import BatchPolicy, BatchRecord, PassLimits, Scheduler, TokenIds, Vectors, Watchdog
from engine.scheduling.health import ALL_HUNG, NO_INSTANCE
from engine.scheduling.instances import MAX_ABANDONED
from engine.scheduling.pass_cost import PassCost
from engine.scheduling.watchdog import PERIOD_S
from tests.unit.engine.scheduling.fakes import FakeExecutor, GatedExecutor, ManualClock, RecordingObserver, text_of

LIMIT_S = 2.0
LOOP_LIMIT_S = 3.0
PROBE = text_of(5, 9)


class Rig:
    """A scheduler of gated executors, and a watchdog that looks when the test says so."""

    def __init__(self, instances: int = 1, limits: PassLimits | None = None) -> None:
        self.clock = ManualClock()
        self.observer = RecordingObserver()
        self.loop_hangs: list[float] = []
        self.deadlines = 0
        self.watchdog = Watchdog(LOOP_LIMIT_S, self.loop_hangs.append, self._count_deadline, clock=self.clock)
        self.executors = [GatedExecutor() for _ in range(instances)]
        self.made: list[GatedExecutor] = []
        self.scheduler = Scheduler(
            self.executors, BatchPolicy(max_batch_items=1), self.observer, name="test", clock=self.clock,
            make_executor=self._make, probe_text=PROBE, watchdog=self.watchdog,
            pass_limits=limits or PassLimits(fixed_s=LIMIT_S),
        )  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self._made = asyncio.Queue[GatedExecutor]()

    def _make(self) -> GatedExecutor:
        async def make() -> GatedExecutor:
            return GatedExecutor()

        executor = asyncio.run_coroutine_threadsafe(make(), self._loop).result()
        self.made.append(executor)
        self._loop.call_soon_threadsafe(self._made.put_nowait, executor)
        return executor

    def problem(self) -> str | None:
        return self.scheduler.health.problem

    async def replacement(self) -> GatedExecutor:
        """The executor of the next replacement."""
        return await asyncio.wait_for(self._made.get(), 5)

    def _count_deadline(self) -> None:
        self.deadlines += 1

    async def passes(self, seconds: float) -> None:
        """Lets time pass, with the looks of the watchdog that fall into it."""
        for _ in range(round(seconds / PERIOD_S)):
            self.clock.now += PERIOD_S
            self.watchdog.check()
            await asyncio.sleep(0)  # the event loop runs, and answers the watchdog

    async def close(self) -> None:
        closing = asyncio.ensure_future(self.scheduler.close())
        while not closing.done():  # a replacement may be made late, and its first pass waits at its gate too
            for executor in (*self.executors, *self.made):
                executor.let()
            await asyncio.sleep(0)
        await closing
        while self.scheduler.stats().abandoned_threads:  # noqa: ASYNC110 - a thread that ends sends no signal here
            await asyncio.sleep(0)


async def test_the_callers_of_a_pass_that_hangs_are_told_to_retry_and_another_instance_answers_the_rest() -> None:
    rig = Rig()
    hung = rig.scheduler.submit([text_of(3)])
    queued = rig.scheduler.submit([text_of(4)])
    await rig.executors[0].begun()
    await rig.passes(LIMIT_S)
    assert not hung._future.done()
    await rig.passes(2 * PERIOD_S)
    with pytest.raises(Unavailable, match=r"hung.*again"):
        await asyncio.wait_for(hung, 5)
    (await rig.replacement()).let(1000)
    assert (await asyncio.wait_for(queued, 5)).vectors.unit.shape == (1, 4)
    assert rig.scheduler.stats().abandoned_threads == 1
    assert rig.observer.replaced == [True]
    await rig.close()


async def test_it_is_unhealthy_from_the_hang_of_its_last_instance_until_a_pass_of_the_next_one() -> None:
    rig = Rig()
    rig.scheduler.submit([text_of(3)]).add_done_callback(lambda _: None)
    await rig.executors[0].begun()
    await rig.passes(LIMIT_S + 2 * PERIOD_S)
    assert rig.problem() == ALL_HUNG
    replacement = await rig.replacement()
    assert await asyncio.wait_for(replacement.begun(), 5) == [PROBE], "no caller is needed to find out"
    replacement.let(1)
    await asyncio.wait_for(rig.scheduler.drain(), 5)
    assert rig.problem() is None
    assert rig.observer.records == [], "a probe is no one's request"
    await rig.close()


async def test_while_another_instance_answers_a_hang_leaves_it_healthy() -> None:
    rig = Rig(instances=2)
    jobs = [rig.scheduler.submit([text_of(length)]) for length in (3, 4)]
    for executor in rig.executors:
        await executor.begun()
    rig.executors[1].let(1000)
    while rig.scheduler.stats().in_flight_jobs > 1:  # noqa: ASYNC110 - either job may be the one that ends
        await asyncio.sleep(0)
    await rig.passes(LIMIT_S + 2 * PERIOD_S)
    assert rig.problem() is None
    outcomes = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 5)
    assert sorted(isinstance(outcome, Unavailable) for outcome in outcomes) == [False, True]
    await rig.close()


async def test_a_hung_pass_that_ends_after_all_changes_nothing_and_its_thread_ends() -> None:
    rig = Rig()
    hung = rig.scheduler.submit([text_of(3)])
    await rig.executors[0].begun()
    await rig.passes(LIMIT_S + 2 * PERIOD_S)
    with pytest.raises(Unavailable):
        await hung
    rig.executors[0].let(1000)
    while rig.scheduler.stats().abandoned_threads:  # noqa: ASYNC110 - the thread's end is what the test waits for
        await asyncio.sleep(0)
    assert rig.observer.records == []
    await rig.close()


async def test_a_pass_within_its_limit_is_not_disturbed() -> None:
    rig = Rig()
    job = rig.scheduler.submit([text_of(3)])
    await rig.executors[0].begun()
    await rig.passes(LIMIT_S - PERIOD_S)
    rig.executors[0].let(1)
    assert (await asyncio.wait_for(job, 5)).vectors.unit.shape == (1, 4)
    await rig.passes(2 * LIMIT_S)
    assert rig.observer.replaced == []
    await rig.close()


async def test_a_device_that_always_hangs_does_not_get_threads_forever() -> None:
    rig = Rig()
    rig.scheduler.submit([text_of(3)]).add_done_callback(lambda _: None)
    executor = rig.executors[0]
    for _ in range(MAX_ABANDONED):
        await executor.begun()
        await rig.passes(LIMIT_S + 2 * PERIOD_S)
        executor = await rig.replacement()
        rig.scheduler.probe()
    await executor.begun()
    await rig.passes(LIMIT_S + 2 * PERIOD_S)
    assert rig.problem() == NO_INSTANCE
    assert len(rig.made) == MAX_ABANDONED
    with pytest.raises(Unavailable, match="restart"):
        rig.scheduler.submit([text_of(3)])
    await asyncio.wait_for(rig.scheduler.close(), 5)
    await rig.close()


async def test_close_does_not_wait_for_a_thread_that_was_given_up() -> None:
    rig = Rig()
    rig.scheduler.submit([text_of(3)]).add_done_callback(lambda _: None)
    await rig.executors[0].begun()
    closing = asyncio.create_task(rig.scheduler.close())
    await rig.passes(LIMIT_S + 2 * PERIOD_S)
    (await rig.replacement()).let(1000)
    await asyncio.wait_for(closing, 5)
    assert rig.scheduler.stats().abandoned_threads == 1
    await rig.close()


async def test_a_process_that_was_suspended_has_not_hung() -> None:
    rig = Rig()
    job = rig.scheduler.submit([text_of(3)])
    await rig.executors[0].begun()
    await rig.passes(PERIOD_S)
    rig.clock.now += 3600
    rig.watchdog.check()
    rig.watchdog.check()
    assert rig.loop_hangs == []
    rig.executors[0].let(1)
    assert (await asyncio.wait_for(job, 5)).vectors.unit.shape == (1, 4)
    await rig.close()


async def test_every_pass_of_a_batch_that_is_split_has_its_own_limit() -> None:
    begun = asyncio.Queue[int]()
    gate = threading.Semaphore(0)
    loop = asyncio.get_running_loop()

    def fails_in_parts(texts: Sequence[TokenIds]) -> Vectors:
        loop.call_soon_threadsafe(begun.put_nowait, len(texts))
        gate.acquire()
        if len(texts) > 1:
            raise RuntimeError
        return FakeExecutor()(texts)

    rig = Rig()
    rig.executors[0].let(1000)
    scheduler = Scheduler(
        [fails_in_parts], BatchPolicy(), RecordingObserver(), name="test", clock=rig.clock, watchdog=rig.watchdog,
        pass_limits=PassLimits(fixed_s=LIMIT_S),
    )  # fmt: skip
    job = scheduler.submit([text_of(3)] * 2)
    for texts in (2, 1, 1):
        assert await asyncio.wait_for(begun.get(), 5) == texts
        await rig.passes(LIMIT_S - PERIOD_S)
        gate.release()
    assert (await asyncio.wait_for(job, 5)).vectors.unit.shape == (2, 4)
    await scheduler.close()
    await rig.close()


async def test_an_event_loop_that_does_not_run_is_reported_once_it_is_over_its_limit() -> None:
    rig = Rig()
    for _ in range(round(LOOP_LIMIT_S / PERIOD_S)):  # without an await: the loop is busy with this test
        rig.clock.now += PERIOD_S
        rig.watchdog.check()
    assert rig.loop_hangs == []
    rig.clock.now += PERIOD_S
    rig.watchdog.check()
    assert rig.loop_hangs == [LOOP_LIMIT_S]
    await rig.close()


async def test_an_event_loop_that_runs_is_never_reported() -> None:
    rig = Rig()
    await rig.passes(10 * LOOP_LIMIT_S)
    assert rig.loop_hangs == []
    await rig.close()


async def test_a_deadline_is_kept_though_the_event_loop_hangs() -> None:
    rig = Rig()
    rig.watchdog.set_deadline(1.0)
    rig.clock.now += 0.9
    rig.watchdog.check()
    assert rig.deadlines == 0
    rig.clock.now += 0.2
    rig.watchdog.check()
    rig.watchdog.check()
    assert rig.deadlines == 1
    await rig.close()


async def test_the_thread_looks_until_it_is_stopped() -> None:
    looked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def note() -> None:
        loop.call_soon_threadsafe(looked.set)

    watchdog = Watchdog(1e9, lambda _: None, note)
    watchdog.set_deadline(0.0)
    watchdog.start()
    await asyncio.wait_for(looked.wait(), 20)
    watchdog.stop()
    await asyncio.to_thread(watchdog._thread.join, 20)
    assert not watchdog._thread.is_alive()


def record(padded_tokens: int, infer_s: float, **more: Any) -> BatchRecord:
    return BatchRecord(1, padded_tokens, padded_tokens, infer_s, [0.0], **more)


def test_the_limit_of_a_pass_follows_from_the_measured_cost_of_such_a_pass() -> None:
    cost, limits = PassCost(), PassLimits(minimum_s=1.0, factor=10.0, unmeasured_s=77.0)
    texts = [text_of(50)] * 20
    assert limits.limit_s(cost.expected_s(texts)) == 77.0
    cost.record(record(250, 0.2))
    cost.record(record(9, 1e-3))
    cost.record(record(1000, 50.0, split=True))
    assert limits.limit_s(cost.expected_s(texts)) == pytest.approx(10 * 4 * 0.2), "four times as large"
    cost.record(record(1000, 0.5))
    assert limits.limit_s(cost.expected_s(texts)) == pytest.approx(5.0)
    assert limits.limit_s(cost.expected_s([text_of(100)] * 4)) == pytest.approx(5.0), "at most the next larger one"
    assert limits.limit_s(cost.expected_s([text_of(9)])) == 1.0
    assert PassLimits(fixed_s=3.0).limit_s(cost.expected_s(texts)) == 3.0


def test_the_measured_cost_follows_a_machine_that_becomes_slow() -> None:
    cost = PassCost()
    cost.record(record(10, 0.1))
    for _ in range(30):
        cost.record(record(10, 1.0))
    assert cost.expected_s([text_of(10)]) == pytest.approx(1.0, rel=0.05)
