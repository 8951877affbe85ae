"""Each request gets its own vectors, in the order of its texts, or an error that names the failing text."""

import asyncio
import random
from collections.abc import Sequence

import numpy as np
import pytest

from engine.errors import PoisonedText, Unavailable
from engine.scheduling import BatchPolicy, JobResult, TokenIds, Vectors
from tests.unit.engine.scheduling.conftest import MakeScheduler
from tests.unit.engine.scheduling.fakes import (
    BROKEN_NORM,
    NON_FINITE,
    POISON,
    FakeExecutor,
    GatedExecutor,
    ManualClock,
    RecordingObserver,
    text_of,
    vectors_of,
)


def assert_answers(result: JobResult, texts: Sequence[TokenIds]) -> None:
    expected = vectors_of(texts)
    np.testing.assert_array_equal(result.vectors.unit, expected.unit)
    np.testing.assert_array_equal(result.vectors.norms, expected.norms)


@pytest.mark.parametrize("coalesce", [True, False])
@pytest.mark.parametrize("instances", [1, 3])
async def test_answers_never_cross_callers_when_batches_are_sorted(
    make_scheduler: MakeScheduler, observer: RecordingObserver, instances: int, coalesce: bool
) -> None:
    rng = random.Random(7)  # noqa: S311 - seeded, so that failures are reproducible
    policy = BatchPolicy(max_batch_tokens=600, max_batch_items=16, coalesce=coalesce)
    scheduler = make_scheduler(*(FakeExecutor() for _ in range(instances)), policy=policy)
    marks = iter(range(10_000, 1_000_000))
    asked = 0

    async def caller() -> None:
        nonlocal asked
        for _ in range(6):
            texts = [text_of(rng.randint(1, 90), next(marks)) for _ in range(rng.randint(1, 50))]
            asked += len(texts)
            assert_answers(await scheduler.submit(texts), texts)

    await asyncio.gather(*(caller() for _ in range(20)))
    assert sum(record.items for record in observer.records) == asked
    assert all(record.items == 1 or record.padded_tokens <= 600 for record in observer.records)
    assert all(record.tokens <= record.padded_tokens for record in observer.records)


async def test_an_executor_may_reuse_its_buffers(make_scheduler: MakeScheduler) -> None:
    unit, norms = np.empty((4, 4), np.float32), np.empty(4, np.float32)

    def reusing(texts: object) -> Vectors:
        assert isinstance(texts, list)
        fresh = vectors_of(texts)
        unit[: len(texts)], norms[: len(texts)] = fresh.unit, fresh.norms
        return Vectors(unit[: len(texts)], norms[: len(texts)])

    scheduler = make_scheduler(reusing, policy=BatchPolicy(max_batch_items=4))
    texts: list[TokenIds] = [text_of(3, mark) for mark in range(20)]
    jobs = [scheduler.submit([text]) for text in texts]
    for job, text in zip(jobs, texts, strict=True):
        assert_answers(await job, [text])


async def test_a_poison_text_fails_its_request_alone(
    make_scheduler: MakeScheduler, observer: RecordingObserver
) -> None:
    scheduler = make_scheduler(FakeExecutor())
    healthy: list[list[TokenIds]] = [[text_of(9, mark), text_of(5, mark)] for mark in range(10, 15)]
    jobs = [scheduler.submit(texts) for texts in healthy]
    poisoned = scheduler.submit([text_of(7, 1), text_of(7, 2), text_of(7, POISON)])
    with pytest.raises(PoisonedText, match=r"text 2: .*RuntimeError") as failure:
        await poisoned
    assert failure.value.position == 2
    assert "kernel" not in str(failure.value), "the message of a runtime may quote the text"
    for job, texts in zip(jobs, healthy, strict=True):
        assert_answers(await job, texts)
    assert sum(record.poisoned for record in observer.records) == 1
    assert [record.split for record in observer.records].count(True) == 1


@pytest.mark.parametrize("mark", [NON_FINITE, BROKEN_NORM])
async def test_a_vector_that_is_not_finite_is_refused_and_counted(
    make_scheduler: MakeScheduler, observer: RecordingObserver, mark: int
) -> None:
    executor = FakeExecutor()
    scheduler = make_scheduler(executor)
    good: list[TokenIds] = [text_of(5, 1), text_of(6, 1)]
    job = scheduler.submit(good)
    with pytest.raises(PoisonedText, match="text 0: its vector is not finite"):
        await scheduler.submit([text_of(5, mark)])
    assert_answers(await job, good)
    assert sum(record.poisoned for record in observer.records) == 1
    assert not any(record.split for record in observer.records)
    assert len(executor.batches) == len(observer.records), "nothing is run again for a vector that is not finite"


async def test_the_first_failure_drops_what_the_request_still_has_queued(make_scheduler: MakeScheduler) -> None:
    executor = FakeExecutor()
    scheduler = make_scheduler(executor, policy=BatchPolicy(max_batch_items=2))
    with pytest.raises(PoisonedText, match="text 9"):
        await scheduler.submit([*(text_of(5, mark) for mark in range(9)), text_of(50, POISON), *[text_of(5)] * 4000])
    await scheduler.drain()
    assert scheduler.stats().queued_items == 0
    assert_answers(await scheduler.submit([text_of(4)]), [text_of(4)])
    assert len(executor.texts) < 4011


@pytest.mark.parametrize("shape", [(1, 4), (3,), (0, 4)])
async def test_vectors_of_a_wrong_shape_are_a_failing_batch(
    make_scheduler: MakeScheduler, observer: RecordingObserver, shape: tuple[int, ...]
) -> None:
    def misshapen(texts: object) -> Vectors:
        return Vectors(np.zeros(shape, np.float32), np.zeros(3, np.float32))

    scheduler = make_scheduler(misshapen)
    with pytest.raises(PoisonedText, match="ValueError"):
        await scheduler.submit([text_of(3), text_of(3)])
    assert observer.records[0].poisoned == 2


async def test_a_request_of_no_texts_is_answered_at_once(make_scheduler: MakeScheduler) -> None:
    result = await make_scheduler(GatedExecutor()).submit([])
    assert (result.vectors.unit.shape, result.vectors.norms.shape) == ((0, 0), (0,))


async def test_stage_times_are_the_longest_of_the_requests_texts(
    make_scheduler: MakeScheduler, observer: RecordingObserver, clock: ManualClock
) -> None:
    executor = GatedExecutor()
    scheduler = make_scheduler(executor, policy=BatchPolicy(max_batch_items=1))
    job = scheduler.submit([text_of(3), text_of(3)])
    for infer_s in (2.0, 1.0):
        await executor.begun()
        clock.now += infer_s
        executor.let()
    result = await job
    assert (result.queue_s, result.infer_s) == (2.0, 2.0)
    assert [(record.infer_s, record.queue_s) for record in observer.records] == [(2.0, [0.0]), (1.0, [2.0])]


async def test_a_lost_thread_is_replaced_and_only_its_batch_fails(
    make_scheduler: MakeScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    healthy = FakeExecutor()

    def dies_once(texts: list[TokenIds]) -> Vectors:
        if any(POISON in text for text in texts):
            raise SystemExit
        return healthy(texts)

    scheduler = make_scheduler(dies_once, policy=BatchPolicy(max_batch_items=1))
    doomed, other = scheduler.submit([text_of(3, POISON)]), scheduler.submit([text_of(4)])
    with pytest.raises(Unavailable, match="again"):
        await doomed
    assert_answers(await other, [text_of(4)])
    assert "test/0 was lost" in caplog.text


async def test_a_fault_in_forming_a_batch_fails_no_request_if_no_text_had_left_the_queue(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = make_scheduler(FakeExecutor())

    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(scheduler._dispatch._queue, "take", broken)
    jobs = [scheduler.submit([text_of(3)] * 5) for _ in range(3)]
    for result in await asyncio.gather(*jobs):
        assert_answers(result, [text_of(3)] * 5)
    assert_answers(await scheduler.submit([text_of(4)]), [text_of(4)])
