"""Instances that were given a core stay there; nobody else does."""

import os
import sys
from collections.abc import Sequence

import pytest

from engine.errors import Unavailable
from engine.scheduling import BatchPolicy, Scheduler, TokenIds, Vectors
from tests.unit.engine.scheduling.fakes import FakeExecutor, Ledger, text_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads keep to cores on Linux alone")

FATAL = 66


class Whereabouts(FakeExecutor):
    """Notes the cores that its passes might have run on. FATAL ends the thread that runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.cores: list[set[int]] = []

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        self.cores.append(os.sched_getaffinity(0))
        if any(FATAL in text for text in texts):
            raise SystemExit
        return super().__call__(texts)


async def test_an_instance_keeps_to_its_core_and_so_does_its_replacement(ledger: Ledger) -> None:
    everywhere = os.sched_getaffinity(0)
    core = max(everywhere)
    executor = Whereabouts()
    scheduler = Scheduler([executor], BatchPolicy(), ledger, name="test", cores=[core])
    await scheduler.submit([text_of(4)])
    with pytest.raises(Unavailable):
        await scheduler.submit([text_of(4, FATAL)])
    await scheduler.submit([text_of(4)])
    await scheduler.close()
    assert executor.cores == [{core}] * 3
    assert os.sched_getaffinity(0) == everywhere


async def test_an_instance_without_a_core_runs_anywhere(ledger: Ledger) -> None:
    executor = Whereabouts()
    scheduler = Scheduler([executor], BatchPolicy(), ledger, name="test", cores=[None])
    await scheduler.submit([text_of(4)])
    await scheduler.close()
    assert executor.cores == [os.sched_getaffinity(0)]
