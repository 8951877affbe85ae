"""The pending result of a request, assembled from the batches that its texts were in."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Protocol

import numpy as np

from engine.errors import EngineError
from engine.scheduling.contract import JobResult, Vectors
from engine.scheduling.instance import PartialResult
from engine.scheduling.queue import Ticket


class JobOwner(Protocol):
    """Cancels its jobs: the scheduler."""

    def cancel(self, job: "Job") -> None: ...


class Job:
    """The pending result of a request: `await` it for a JobResult.

    Raises Expired, Cancelled, PoisonedText or Unavailable. Cancelling the task that awaits it cancels the job.
    """

    __slots__ = ("_future", "_infer_s", "_missing", "_queue_s", "_scheduler", "_vectors", "deadline", "ticket")

    def __init__(self, scheduler: JobOwner, ticket: Ticket, future: asyncio.Future[JobResult]) -> None:
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
            # The error's traceback refers to this job, and the job's future to the error. Without this, each failed
            # request would leave a reference cycle until the next full garbage collection.
            del self._future
            raise

    def cancel(self) -> None:
        """Drops the texts that are still queued; awaiting the job then raises Cancelled. No effect once answered."""
        self._scheduler.cancel(self)

    def add_done_callback(self, callback: Callable[[BaseException | None], None]) -> None:
        """Calls `callback` with the error, None for success, once the job is answered. For a job that nobody awaits."""
        self._future.add_done_callback(lambda future: callback(future.exception()))

    @property
    def missing(self) -> int:
        """The number of its texts that have no vector yet."""
        return self._missing

    def accept(self, result: PartialResult, infer_s: float) -> bool:
        """Adds the vectors of one batch. Returns whether the job has all of its vectors."""
        self._queue_s = max(self._queue_s, result.queue_s)
        self._infer_s = max(self._infer_s, infer_s)
        part = result.vectors
        self._missing -= len(result.positions)
        if self._vectors is None:
            if not self._missing:
                self._vectors = part  # complete and in order
                return True
            count = len(self.ticket.lengths)
            self._vectors = Vectors(
                np.empty((count, part.unit.shape[1]), dtype=np.float32), np.empty(count, dtype=np.float32)
            )
        self._vectors.unit[result.positions] = part.unit
        self._vectors.norms[result.positions] = part.norms
        return not self._missing

    def succeed(self) -> None:
        """Sets the result."""
        if self._vectors is not None and not self._future.done():
            self._future.set_result(JobResult(self._vectors, self._queue_s, self._infer_s))

    def fail(self, error: EngineError) -> None:
        """Sets the error."""
        if not self._future.done():
            self._future.set_exception(error)
            self._future.exception()  # marks it as retrieved: asyncio does not log it if the caller has left


class Jobs:
    """The unanswered jobs of a scheduler, oldest first."""

    def __init__(self) -> None:
        self.by_ticket: dict[Ticket, Job] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()

    def __len__(self) -> int:
        return len(self.by_ticket)

    def add(self, job: Job) -> None:
        """Registers a job."""
        self.by_ticket[job.ticket] = job
        self._none_left.clear()

    def remove(self, job: Job) -> None:
        """Removes an answered job, and its timer. No effect if it is not registered."""
        self.by_ticket.pop(job.ticket, None)
        if job.deadline is not None:
            job.deadline.cancel()
        if not self.by_ticket:
            self._none_left.set()

    def oldest_arrived_s(self) -> float | None:
        """Returns when the oldest one arrived; None without one."""
        oldest = next(iter(self.by_ticket), None)
        return None if oldest is None else oldest.arrived_s

    async def all_answered(self) -> None:
        """Waits until no job is unanswered. Jobs may still be added meanwhile."""
        while self.by_ticket:
            await self._none_left.wait()
