"""A pass without enough memory runs once more in halves; the next batches are smaller, and grow again slowly."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from engine.errors import OutOfMemory, PoisonedText
from engine.scheduling import BatchPolicy, JobResult, Scheduler, TokenIds, Vectors
from engine.scheduling.health import FAILED_BATCHES
from engine.scheduling.out_of_memory import RECOVERY_STEP_S, RECOVERY_STEPS, is_out_of_memory
from tests.unit.engine.scheduling.conftest import MakeScheduler
from tests.unit.engine.scheduling.fakes import POISON, FakeExecutor, ManualClock, RecordingObserver, text_of

POLICY = BatchPolicy(max_batch_tokens=1600, max_batch_items=64)


class SmallDevice(FakeExecutor):
    """Has memory for so many texts in a pass."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        if len(texts) > self.most:
            self.batches.append(list(texts))
            raise MemoryError
        return super().__call__(texts)

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


async def outcome(scheduler: Scheduler, texts: Sequence[TokenIds]) -> JobResult | BaseException:
    job = scheduler.submit(texts)
    (result,) = await asyncio.wait_for(asyncio.gather(job, return_exceptions=True), 5)
    return result


async def test_texts_without_memory_for_their_batch_run_once_more_in_halves(
    make_scheduler: MakeScheduler, observer: RecordingObserver
) -> None:
    device = SmallDevice(most=5)
    result = await outcome(make_scheduler(device, policy=POLICY), [text_of(10, mark) for mark in range(1, 9)])
    assert isinstance(result, JobResult)
    assert result.vectors.unit.shape == (8, 4)
    assert device.sizes == [8, 4, 4]
    (record,) = observer.records
    assert (record.poisoned, record.refused, record.out_of_memory_tokens) == (0, 0, 80)


async def test_texts_without_memory_for_their_half_either_are_refused_with_a_time_to_retry(
    make_scheduler: MakeScheduler, observer: RecordingObserver
) -> None:
    device = SmallDevice(most=2)
    error = await outcome(make_scheduler(device, policy=POLICY), [text_of(10)] * 8)
    assert isinstance(error, OutOfMemory)
    assert error.retry_after_s is not None
    assert error.retry_after_s > 0
    assert device.sizes == [8, 4, 4], "retried once, not split for ever"
    (record,) = observer.records
    assert (record.poisoned, record.refused) == (0, 8), "no text is at fault"


async def test_a_text_that_has_no_memory_alone_runs_once_more(make_scheduler: MakeScheduler) -> None:
    device = SmallDevice(most=0)
    assert isinstance(await outcome(make_scheduler(device, policy=POLICY), [text_of(10)]), OutOfMemory)
    assert device.sizes == [1, 1]


async def test_a_poison_text_in_a_retried_half_fails_alone(make_scheduler: MakeScheduler) -> None:
    device = SmallDevice(most=4)
    scheduler = make_scheduler(device, policy=POLICY)
    held = [scheduler.submit([text_of(10, mark)]) for mark in (1, 2, 3, POISON, 5, 6, 7, 8)]
    results = await asyncio.wait_for(asyncio.gather(*held, return_exceptions=True), 5)
    assert [type(result) for result in results] == [JobResult] * 3 + [PoisonedText] + [JobResult] * 4


async def test_the_next_batches_have_half_the_tokens(make_scheduler: MakeScheduler) -> None:
    device = SmallDevice(most=5)
    scheduler = make_scheduler(device, policy=POLICY)
    await outcome(scheduler, [text_of(10)] * 8)
    assert scheduler.policy.max_batch_tokens == 40
    device.batches.clear()
    assert isinstance(await outcome(scheduler, [text_of(10)] * 8), JobResult)
    assert device.sizes == [4, 4]


async def test_the_bound_halves_again_if_half_is_still_too_much(make_scheduler: MakeScheduler) -> None:
    device = SmallDevice(most=1)
    scheduler = make_scheduler(device, policy=POLICY)
    for tokens in (40, 20, 10, 10):
        await outcome(scheduler, [text_of(10)] * 8)
        assert scheduler.policy.max_batch_tokens == tokens


async def test_the_bound_grows_again_in_small_steps(make_scheduler: MakeScheduler, clock: ManualClock) -> None:
    device = SmallDevice(most=5)
    scheduler = make_scheduler(device, policy=POLICY)
    await outcome(scheduler, [text_of(10)] * 8)
    clock.now += RECOVERY_STEP_S * 0.9
    await outcome(scheduler, [text_of(10)])
    assert scheduler.policy.max_batch_tokens == 40
    clock.now += RECOVERY_STEP_S * 0.1
    await outcome(scheduler, [text_of(10)])
    assert scheduler.policy.max_batch_tokens == 40 + 1600 // RECOVERY_STEPS
    clock.now += RECOVERY_STEP_S * RECOVERY_STEPS
    await outcome(scheduler, [text_of(10)])
    assert scheduler.policy == POLICY


async def test_settings_that_change_meanwhile_stay_within_the_bound(
    make_scheduler: MakeScheduler, clock: ManualClock
) -> None:
    scheduler = make_scheduler(SmallDevice(most=5), policy=POLICY)
    await outcome(scheduler, [text_of(10)] * 8)
    changed = replace(POLICY, max_batch_tokens=3200, max_batch_items=7)
    scheduler.configure(changed)
    assert (scheduler.policy.max_batch_tokens, scheduler.policy.max_batch_items) == (40, 7)
    clock.now += RECOVERY_STEP_S * RECOVERY_STEPS
    await outcome(scheduler, [text_of(10)])
    assert scheduler.policy == changed


async def test_a_device_without_memory_for_any_text_is_unhealthy(make_scheduler: MakeScheduler) -> None:
    scheduler = make_scheduler(SmallDevice(most=0), policy=POLICY)
    for _ in range(FAILED_BATCHES):
        await outcome(scheduler, [text_of(3)])
    assert scheduler.health.problem is not None


class OutOfMemoryError(RuntimeError):
    """Named as PyTorch's."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 4096"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("a kernel failed"), False),
        (ValueError("3 texts gave vectors of shape (2, 4)"), False),
    ],
)
def test_a_lack_of_memory_is_known_by_type_or_message(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
