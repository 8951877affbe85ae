"""Instances with a core are pinned to it; other threads are not."""

import os
import sys
from collections.abc import Sequence

import pytest

from engine.errors import Unavailable
from engine.scheduling import BatchPolicy, Scheduler, TokenIds, Vectors
from tests.unit.engine.scheduling.fakes import FakeExecutor, RecordingObserver, text_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads are pinned on Linux only")

FATAL = 66


class CoreRecordingExecutor(FakeExecutor):
    """Records the CPU affinity of its passes. A text with FATAL ends the thread that runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.cores: list[set[int]] = []

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        self.cores.append(os.sched_getaffinity(0))
        if any(FATAL in text for text in texts):
            raise SystemExit
        return super().__call__(texts)


async def test_an_instance_keeps_to_its_core_and_so_does_its_replacement(observer: RecordingObserver) -> None:
    all_cores = os.sched_getaffinity(0)
    core = max(all_cores)
    executor = CoreRecordingExecutor()
    scheduler = Scheduler([executor], BatchPolicy(), observer, name="test", cores=[core])
    await scheduler.submit([text_of(4)])
    with pytest.raises(Unavailable):
        await scheduler.submit([text_of(4, FATAL)])
    await scheduler.submit([text_of(4)])
    await scheduler.close()
    assert executor.cores == [{core}] * 3
    assert os.sched_getaffinity(0) == all_cores


async def test_an_instance_without_a_core_runs_anywhere(observer: RecordingObserver) -> None:
    executor = CoreRecordingExecutor()
    scheduler = Scheduler([executor], BatchPolicy(), observer, name="test", cores=[None])
    await scheduler.submit([text_of(4)])
    await scheduler.close()
    assert executor.cores == [os.sched_getaffinity(0)]
