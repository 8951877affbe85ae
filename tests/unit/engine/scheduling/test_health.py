"""A deployment that gives no vectors becomes unhealthy; texts of a caller that fail never make it unhealthy."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from engine.errors import EngineError
from engine.scheduling import (
    BatchPolicy,
    BatchRecord,
    Health,
    InlinePolicy,
    Job,
    ProbeSchedule,
    Readiness,
    Scheduler,
    TokenIds,
    Vectors,
)
from engine.scheduling.health import FAILED_BATCHES, NO_INSTANCE, NOT_LIVE, ONLY_FAILURES, RECHECK_S
from engine.scheduling.inline import INLINE_AFTER_REQUESTS
from engine.scheduling.queue import BatchQueue
from tests.unit.engine.scheduling.conftest import MakeScheduler
from tests.unit.engine.scheduling.fakes import (
    NON_FINITE,
    POISON,
    FakeExecutor,
    ManualClock,
    RecordingObserver,
    text_of,
)


class Device(FakeExecutor):
    """An executor that fails while `is_broken` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.is_broken = False
        self.ran_inline: list[bool] = []
        self._loops_thread = threading.get_ident()

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        self.ran_inline.append(threading.get_ident() == self._loops_thread)
        if self.is_broken:
            raise RuntimeError("the device is gone")
        return super().__call__(texts)


async def ask(scheduler: Scheduler, *texts: TokenIds, times: int = 1) -> None:
    """Sends requests in sequence, each when the instance is idle; they may fail."""
    for _ in range(times):
        while not scheduler.stats().idle_instances:  # noqa: ASYNC110 - a waiting thread sends no signal
            await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(scheduler.submit(list(texts)), return_exceptions=True), 5)


def problem_of(scheduler: Scheduler) -> str | None:
    return scheduler.health.problem


async def test_a_device_whose_every_pass_fails_is_unhealthy_and_one_that_works_again_is_not(
    make_scheduler: MakeScheduler,
) -> None:
    device = Device()
    scheduler = make_scheduler(device)
    await ask(scheduler, text_of(3))
    device.is_broken = True
    await ask(scheduler, text_of(3), text_of(4), times=FAILED_BATCHES - 1)
    assert problem_of(scheduler) is None
    await ask(scheduler, text_of(3))
    assert problem_of(scheduler) == ONLY_FAILURES
    device.is_broken = False
    await ask(scheduler, text_of(3))
    assert problem_of(scheduler) is None


async def test_vectors_that_are_all_not_finite_make_it_unhealthy(make_scheduler: MakeScheduler) -> None:
    scheduler = make_scheduler(FakeExecutor())
    await ask(scheduler, text_of(3, NON_FINITE), text_of(4, NON_FINITE), times=FAILED_BATCHES)
    assert problem_of(scheduler) == ONLY_FAILURES


async def test_poison_texts_among_others_never_make_it_unhealthy(make_scheduler: MakeScheduler) -> None:
    scheduler = make_scheduler(FakeExecutor())
    await ask(scheduler, text_of(3, POISON), text_of(4), times=3 * FAILED_BATCHES)
    for _ in range(FAILED_BATCHES):
        await ask(scheduler, text_of(3, POISON), times=FAILED_BATCHES - 1)
        assert problem_of(scheduler) is None
        await ask(scheduler, text_of(3))


async def test_failing_inline_passes_make_it_unhealthy(make_scheduler: MakeScheduler, clock: ManualClock) -> None:
    device = Device()
    scheduler = make_scheduler(device, inline=InlinePolicy(may_poll=False))
    await ask(scheduler, text_of(7), times=3 * INLINE_AFTER_REQUESTS)
    device.is_broken = True
    await ask(scheduler, text_of(7), times=FAILED_BATCHES)
    assert all(device.ran_inline[-FAILED_BATCHES:])
    assert problem_of(scheduler) == ONLY_FAILURES


async def test_instances_that_are_lost_with_each_batch_make_it_unhealthy(make_scheduler: MakeScheduler) -> None:
    lost = True

    def dies(texts: Sequence[TokenIds]) -> Vectors:
        if lost:
            raise SystemExit
        return FakeExecutor()(texts)

    scheduler = make_scheduler(dies)
    await ask(scheduler, text_of(3), times=FAILED_BATCHES)
    assert problem_of(scheduler) == ONLY_FAILURES
    lost = False
    await ask(scheduler, text_of(3))
    assert problem_of(scheduler) is None


async def test_a_probe_that_ends_its_thread_too_makes_it_unhealthy(observer: RecordingObserver) -> None:
    def dies(texts: Sequence[TokenIds]) -> Vectors:
        raise SystemExit

    scheduler = Scheduler([dies], BatchPolicy(), observer, name="test", probe_text=text_of(4))
    await ask(scheduler, text_of(3), times=FAILED_BATCHES)
    await asyncio.wait_for(scheduler.drain(), 5)
    await asyncio.sleep(0)
    assert problem_of(scheduler) == ONLY_FAILURES
    await scheduler.close()


async def test_batches_that_cannot_be_formed_or_delivered_make_it_unhealthy(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise MemoryError

    for owner, name in ((BatchQueue, "take"), (Job, "accept"), (Job, "succeed")):
        scheduler = make_scheduler(FakeExecutor())
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, broken)
            await ask(scheduler, text_of(3), times=FAILED_BATCHES)
        assert problem_of(scheduler) == ONLY_FAILURES, name
        await ask(scheduler, text_of(3))
        assert problem_of(scheduler) is None, name


async def test_it_is_unhealthy_permanently_once_no_instance_is_left(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_affinity(_: int) -> None:
        raise ValueError

    monkeypatch.setattr("engine.scheduling.instance.pin_to_core", no_affinity)
    changed = asyncio.Event()
    scheduler = Scheduler([FakeExecutor()], BatchPolicy(), _Silent(), name="test", cores=[0])
    scheduler.health.on_change = changed.set
    await asyncio.wait_for(changed.wait(), 5)
    assert problem_of(scheduler) == NO_INSTANCE
    with pytest.raises(EngineError, match="every instance was lost"):
        scheduler.submit([text_of(3)])


async def test_poison_texts_of_one_caller_alone_do_not_make_it_unhealthy(observer: RecordingObserver) -> None:
    scheduler = Scheduler([FakeExecutor()], BatchPolicy(), observer, name="test", probe_text=text_of(4))
    for _ in range(3):
        await ask(scheduler, text_of(3, POISON), times=FAILED_BATCHES)
        await asyncio.wait_for(scheduler.drain(), 5)
        assert problem_of(scheduler) is None
    assert len(observer.records) == 3 * FAILED_BATCHES, "a probe is no one's request"
    await scheduler.close()


async def test_a_probe_that_fails_makes_it_unhealthy_and_one_that_succeeds_healthy_again(
    observer: RecordingObserver,
) -> None:
    device = Device()
    scheduler = Scheduler([device], BatchPolicy(), observer, name="test", probe_text=text_of(4))
    device.is_broken = True
    for is_broken, problem in ((True, ONLY_FAILURES), (True, ONLY_FAILURES), (False, None)):
        device.is_broken = is_broken
        scheduler.probe()
        scheduler.probe()
        await asyncio.wait_for(scheduler.drain(), 5)
        await asyncio.sleep(0)
        assert problem_of(scheduler) == problem
    assert len(device.batches) == 1, "one probe at a time"
    await scheduler.close()


async def test_a_probe_never_runs_inline(clock: ManualClock, observer: RecordingObserver) -> None:
    device = Device()
    scheduler = Scheduler(
        [device], BatchPolicy(), observer, name="test", clock=clock, inline=InlinePolicy(may_poll=False),
        probe_text=text_of(7),
    )  # fmt: skip
    await ask(scheduler, text_of(7), times=3 * INLINE_AFTER_REQUESTS)
    scheduler.probe()
    await asyncio.wait_for(scheduler.drain(), 5)
    assert device.ran_inline[-2:] == [True, False]
    await scheduler.close()


def test_a_deployment_without_traffic_is_probed_and_an_unhealthy_one_more_often(clock: ManualClock) -> None:
    health = Health()
    schedule = ProbeSchedule(10.0, clock)

    def due_after(seconds: float) -> bool:
        clock.now += seconds
        return schedule.is_due(health)

    assert not due_after(99.0), "a new deployment was verified"
    assert [due_after(9.0), due_after(1.5), due_after(9.0), due_after(1.5)] == [False, True, False, True]
    health.batch_done(BatchRecord(1, 3, 3, 0.1, [0.0]))
    assert [due_after(9.0), due_after(9.0), due_after(1.5)] == [False, False, True], "traffic shows that it works"
    health.batch_failed()
    assert [due_after(9.0), due_after(1.5)] == [False, True], "a failed batch does not show it"
    health.probe_failed()
    assert [due_after(RECHECK_S), due_after(RECHECK_S)] == [True, True]
    health.instance_lost(left=0)
    assert not due_after(RECHECK_S), "nothing can run a probe"


async def test_readiness_follows_the_health_of_the_live_deployment() -> None:
    old, new = Health(), Health()
    problems: list[str | None] = []
    readiness = Readiness()
    problems.append(readiness.problem)
    readiness.subscribe(failing_listener)
    readiness.subscribe(lambda: problems.append(readiness.problem))
    readiness.follow(old)
    old.instance_lost(left=1)
    for _ in range(2 * FAILED_BATCHES):
        old.batch_failed()
    readiness.follow(new)
    old.instance_lost(left=0)  # while it drains
    assert problems == [NOT_LIVE, None, ONLY_FAILURES, None]


def failing_listener() -> None:
    raise ArithmeticError


class _Silent:
    def batch_done(self, record: object) -> None:
        """Nobody counts."""

    def items_dropped(self, expired: int, cancelled: int) -> None:
        """Nobody counts."""

    def instance_replaced(self, *, hung: bool) -> None:
        """Nobody counts."""
