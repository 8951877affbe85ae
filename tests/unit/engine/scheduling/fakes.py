"""Executors, observers and clocks that do exactly what a test tells them to."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.scheduling import BatchRecord, TokenIds, Vectors

POISON = 666
"""A text that holds this token makes its forward pass fail."""
NON_FINITE = 667
"""A text that holds this token gets a vector with a NaN in it."""
BROKEN_NORM = 668
"""A text that holds this token gets an infinite norm."""


def vector_of(text: TokenIds) -> NDArray[np.float32]:
    """(4,) float32: the un-normalised vector the fakes give a text; no two texts of the tests share one."""
    return np.array([len(text), sum(text), text[0], text[-1] * 3 + 1], dtype=np.float32)


def vectors_of(texts: Sequence[TokenIds]) -> Vectors:
    """What a healthy executor answers."""
    raw = np.stack([vector_of(text) for text in texts])
    norms = np.linalg.norm(raw, axis=1)
    return Vectors((raw / norms[:, None]).astype(np.float32), norms.astype(np.float32))


class FakeExecutor:
    """Answers by the texts alone, and fails on the marked ones. Remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[TokenIds]] = []

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        self.batches.append(list(texts))
        if any(POISON in text for text in texts):
            raise RuntimeError("a kernel fell over")
        vectors = vectors_of(texts)
        for row, text in enumerate(texts):
            if NON_FINITE in text:
                vectors.unit[row, 1] = np.nan
            if BROKEN_NORM in text:
                vectors.norms[row] = np.inf
        return vectors

    @property
    def texts(self) -> list[TokenIds]:
        """All texts that ever reached it."""
        return [text for batch in self.batches for text in batch]


class GatedExecutor(FakeExecutor):
    """Says when a batch has begun, and ends it only when let."""

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
        """The next batch that begins."""
        return await self._begun.get()

    def let(self, batches: int = 1) -> None:
        """Lets so many batches end, now or later."""
        self._gate.release(batches)


class Ledger:
    """An observer that keeps everything it hears."""

    def __init__(self) -> None:
        self.records: list[BatchRecord] = []
        self.expired = 0
        self.cancelled = 0
        self.threads: set[int] = set()

    def batch_done(self, record: BatchRecord) -> None:
        self.threads.add(threading.get_ident())
        self.records.append(record)

    def items_dropped(self, expired: int, cancelled: int) -> None:
        self.threads.add(threading.get_ident())
        self.expired += expired
        self.cancelled += cancelled


class HandClock:
    """A clock that moves when told."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def text_of(length: int, mark: int = 1) -> list[int]:
    """A text of so many tokens, told from others of its length by `mark`."""
    return [*[1] * (length - 1), mark]
