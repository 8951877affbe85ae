"""One request's answer to come, put together from the batches that its texts were in."""

import asyncio
from collections.abc import Generator
from typing import Any, Protocol

import numpy as np

from engine.errors import EngineError
from engine.scheduling.contract import JobResult, Vectors
from engine.scheduling.instance import Answers
from engine.scheduling.queue import Ticket


class Owner(Protocol):
    """Who can cancel a job: the scheduler that made it."""

    def cancel(self, job: "Job") -> None: ...


class Job:
    """One request's answer to come: `await` it for a JobResult.

    Raises Expired, Cancelled, PoisonedText or Unavailable. A caller that is cancelled while it waits cancels the job.
    """

    __slots__ = ("_future", "_infer_s", "_missing", "_queue_s", "_scheduler", "_vectors", "deadline", "ticket")

    def __init__(self, scheduler: Owner, ticket: Ticket, future: asyncio.Future[JobResult]) -> None:
        self.ticket = ticket
        self.deadline: asyncio.TimerHandle | None = None
        self._scheduler = scheduler
        self._future = future
        self._missing = len(ticket.lengths)
        self._vectors: Vectors | None = None
        self._queue_s = 0.0
        self._infer_s = 0.0

    def __await__(self) -> Generator[Any, None, JobResult]:
        try:
            return (yield from self._future.__await__())
        except asyncio.CancelledError:
            self.cancel()
            raise
        except EngineError:
            # The error holds the frames that it goes through, and so this job, whose future holds the error: such a
            # circle of every failed request would stay until the next full garbage collection.
            del self._future
            raise

    def cancel(self) -> None:
        """Drops the texts that are still queued; whoever awaits the job gets Cancelled. No effect once answered."""
        self._scheduler.cancel(self)

    @property
    def missing(self) -> int:
        """How many of its texts have no vector yet."""
        return self._missing

    def accept(self, answers: Answers, infer_s: float) -> bool:
        """Takes one batch's share of the answer; returns whether the answer is whole."""
        self._queue_s = max(self._queue_s, answers.queue_s)
        self._infer_s = max(self._infer_s, infer_s)
        part = answers.vectors
        self._missing -= len(answers.positions)
        if self._vectors is None:
            if not self._missing:
                self._vectors = part  # all in one piece, and in order
                return True
            count = len(self.ticket.lengths)
            self._vectors = Vectors(
                np.empty((count, part.unit.shape[1]), dtype=np.float32), np.empty(count, dtype=np.float32)
            )
        self._vectors.unit[answers.positions] = part.unit
        self._vectors.norms[answers.positions] = part.norms
        return not self._missing

    def succeed(self) -> None:
        """Answers whoever waits."""
        if self._vectors is not None and not self._future.done():
            self._future.set_result(JobResult(self._vectors, self._queue_s, self._infer_s))

    def fail(self, error: EngineError) -> None:
        """Tells whoever waits. If nobody does (the caller left), that is no error to log."""
        if not self._future.done():
            self._future.set_exception(error)
            self._future.exception()
