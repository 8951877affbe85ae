"""A cell without server or scheduler: its artifact, and the throughput of its executors in parallel."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.artifacts.prepare import prepare
from engine.artifacts.store import ArtifactStore
from engine.backends.base import Cell
from engine.models.resolve import ModelFiles
from engine.scheduling.contract import Executor, TokenIds

WARM_WITHIN_S = 60.0
"""How long an executor waits for the first batches of the others."""


def prepared(files: ModelFiles, cell: Cell) -> Path:
    """Returns the folder of the cell's artifact. Preparing a missing one takes minutes. Raises EngineError."""
    return asyncio.run(prepare(files, cell, ArtifactStore.default(), lambda _: None)).path


def texts_per_s(make: Callable[[], Executor], feeds: Sequence[Iterator[Sequence[TokenIds]]], seconds: float) -> float:
    """Returns the total texts/s of one executor per endless feed of batches, each created and run in its own thread.

    They start together, after a first batch each that is not counted.
    """
    ready = threading.Barrier(len(feeds), timeout=WARM_WITHIN_S)

    def work(feed: Iterator[Sequence[TokenIds]]) -> float:
        try:
            executor = make()
            executor(next(feed))
        except BaseException:
            ready.abort()  # the others do not wait for this one
            raise
        ready.wait()
        started_s = time.monotonic()
        done = 0
        while (took_s := time.monotonic() - started_s) < seconds:
            texts = next(feed)
            executor(texts)
            done += len(texts)
        return done / took_s

    with ThreadPoolExecutor(len(feeds)) as threads:
        return sum(threads.map(work, feeds))
