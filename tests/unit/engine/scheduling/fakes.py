"""Executors, an observer and a clock that tests control."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.scheduling import BatchRecord, TokenIds, Vectors

POISON = 666
"""The forward pass of a text with this token fails."""
NON_FINITE = 667
"""The vector of a text with this token has a NaN."""
BROKEN_NORM = 668
"""The norm of a text with this token is infinite."""


def vector_of(text: TokenIds) -> NDArray[np.float32]:
    """The unnormalised vector of a text, (4,) float32; different for any two texts of the tests."""
    return np.array([len(text), sum(text), text[0], text[-1] * 3 + 1], dtype=np.float32)


def vectors_of(texts: Sequence[TokenIds]) -> Vectors:
    """The vectors of a working executor."""
    raw = np.stack([vector_of(text) for text in texts])
    norms = np.linalg.norm(raw, axis=1)
    return Vectors((raw / norms[:, None]).astype(np.float32), norms.astype(np.float32))


class FakeExecutor:
    """Returns `vectors_of` the texts, and fails for marked texts. Records its batches."""

    def __init__(self) -> None:
        self.batches: list[list[TokenIds]] = []

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        self.batches.append(list(texts))
        if any(POISON in text for text in texts):
            raise RuntimeError("a kernel failed")
        vectors = vectors_of(texts)
        for row, text in enumerate(texts):
            if NON_FINITE in text:
                vectors.unit[row, 1] = np.nan
            if BROKEN_NORM in text:
                vectors.norms[row] = np.inf
        return vectors

    @property
    def texts(self) -> list[TokenIds]:
        """All texts that it has received."""
        return [text for batch in self.batches for text in batch]


class GatedExecutor(FakeExecutor):
    """An executor that reports when a batch begins, and ends it only when `let` allows it."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._begun: asyncio.Queue[list[TokenIds]] = asyncio.Queue()
        self._gate = threading.Semaphore(0)

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        self._loop.call_soon_threadsafe(self._begun.put_nowait, list(texts))
        self._gate.acquire()
        return super().__call__(texts)

    async def begun(self) -> list[TokenIds]:
        """Waits for the next batch to begin, and returns it."""
        return await self._begun.get()

    def let(self, batches: int = 1) -> None:
        """Allows so many batches to end, now or later."""
        self._gate.release(batches)


class RecordingObserver:
    """An observer that records its calls."""

    def __init__(self) -> None:
        self.records: list[BatchRecord] = []
        self.expired = 0
        self.cancelled = 0
        self.replaced: list[bool] = []
        """Per replaced instance, whether it hung."""
        self.threads: set[int] = set()

    def batch_done(self, record: BatchRecord) -> None:
        self.threads.add(threading.get_ident())
        self.records.append(record)

    def items_dropped(self, expired: int, cancelled: int) -> None:
        self.threads.add(threading.get_ident())
        self.expired += expired
        self.cancelled += cancelled

    def instance_replaced(self, *, hung: bool) -> None:
        self.replaced.append(hung)


class ManualClock:
    """A clock that tests advance."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def text_of(length: int, mark: int = 1) -> list[int]:
    """A text of `length` tokens that ends with `mark`."""
    return [*[1] * (length - 1), mark]
