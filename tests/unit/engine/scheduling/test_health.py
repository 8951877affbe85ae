"""A deployment that gives no vectors becomes unhealthy; one text that fails never makes it unhealthy."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from engine.errors import EngineError
from engine.scheduling import BatchPolicy, Health, InlinePolicy, Job, Readiness, Scheduler, TokenIds, Vectors
from engine.scheduling.health import FAILED_BATCHES, NO_INSTANCE, NOT_LIVE, ONLY_FAILURES
from engine.scheduling.inline import INLINE_AFTER_REQUESTS
from engine.scheduling.queue import BatchQueue
from tests.unit.engine.scheduling.conftest import MakeScheduler
from tests.unit.engine.scheduling.fakes import NON_FINITE, POISON, FakeExecutor, ManualClock, text_of


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
