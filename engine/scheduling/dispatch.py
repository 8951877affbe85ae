"""The queue behind one lock, shared by the event loop and the threads of the instances."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable

from engine.scheduling.contract import BatchPolicy
from engine.scheduling.queue import Batch, BatchQueue, Ticket


class _Guard:
    """A context manager that holds the queue's lock, and marks the queue as broken when its block raises."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self.is_broken = False

    def __enter__(self) -> None:
        self._changed.acquire()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.is_broken = True
        self._changed.release()


class Dispatch:
    """A queue from which several threads take batches. A batch is formed when an idle instance takes it.

    An exception inside the queue, in any thread, marks it as broken. Until the event loop calls `repair`, nothing is
    added to it or taken from it, and the instances wait.
    """

    def __init__(self, policy: BatchPolicy, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._guard = _Guard(self._changed)
        self._queue = BatchQueue()
        self._policy = policy
        self._idle = 0
        self._closed = False
        self._in_flight: dict[int, Batch] = {}  # by id: taken and not yet done

    @property
    def policy(self) -> BatchPolicy:
        """The policy of the next batch."""
        return self._policy

    def counts(self) -> tuple[int, int, int]:
        """(texts that wait for an instance, their tokens without padding, threads that wait for a batch)."""
        return self._queue.items, self._queue.tokens, self._idle

    @property
    def is_broken(self) -> bool:
        """Whether a fault may have left the queue inconsistent, so that `repair` is needed."""
        return self._guard.is_broken

    def put(self, ticket: Ticket) -> bool:
        """Queues a request. Returns whether an instance is idle and `wake` must be called.

        Does nothing while the queue is broken: `repair` is given the request.
        """
        with self._guard:
            if self.is_broken:
                return False
            self._queue.add(ticket)
            return self._idle > 0

    def wake(self) -> None:
        """Wakes idle instances, at most one per queued text."""
        with self._guard:
            if self._queue.items:
                self._changed.notify(min(self._idle, self._queue.items))

    def take_inline(self, instances: int, max_tokens: int) -> Batch | None:
        """Takes the only queued text, if it has at most `max_tokens` and all `instances` are idle; else None."""
        with self._guard:
            queue = self._queue
            is_single = queue.items == 1 and queue.tokens <= max_tokens and self._idle == instances
            return self._take() if is_single and self._policy.max_wait_s <= 0 and not self.is_broken else None

    def mark_done(self, batch: Batch) -> None:
        """Removes a batch from the batches in flight. Event loop thread only."""
        self._in_flight.pop(id(batch), None)

    def withdraw(self, ticket: Ticket) -> int:
        """Drops a request's queued texts. Returns how many of its texts never ran. Idempotent."""
        with self._guard:
            return ticket.drop() if self.is_broken else self._queue.withdraw(ticket)

    def configure(self, policy: BatchPolicy) -> None:
        """Sets the policy of the next batches."""
        with self._guard:
            self._policy = policy
            self._changed.notify_all()

    def in_flight_texts(self) -> Counter[Ticket]:
        """How many texts of each request are in batches in flight. Event loop thread only."""
        with self._guard:
            return Counter(ticket for batch in self._in_flight.values() for _, _, _, ticket in batch.entries)

    def repair(self, tickets: Iterable[Ticket]) -> None:
        """Replaces the queue by a new one of these requests. None of their texts may have left the old queue."""
        with self._guard:
            queue = BatchQueue()
            for ticket in tickets:
                queue.add(ticket)
            self._queue = queue
            self._guard.is_broken = False
            self._changed.notify_all()

    def close(self) -> None:
        """Ends every thread once the queue is empty."""
        with self._guard:
            self._closed = True
            self._changed.notify_all()

    def next_batch(self) -> Batch | None:
        """Waits for a batch, in an instance's thread. Returns None when the queue is closed and empty."""
        with self._guard:
            self._idle += 1
            try:
                while True:
                    wait_s = self._wait_s()
                    if wait_s is None:
                        if self._closed and not self.is_broken:
                            return None
                        self._changed.wait()
                    elif wait_s > 0:
                        self._changed.wait(wait_s)
                    elif (batch := self._take()) is not None:
                        return batch
            finally:
                self._idle -= 1

    def _take(self) -> Batch | None:
        # A full batch that an instance waited for is not divided among idle instances: the wait was for a full batch.
        shared = self._policy.max_wait_s <= 0 or not self._is_full()
        batch = self._queue.take(self._policy, self._idle if shared else 1, self._clock())
        if batch is not None:
            self._in_flight[id(batch)] = batch
        elif self._queue.items:
            raise RuntimeError(f"the queue counts {self._queue.items} texts and holds none")
        return batch

    def _wait_s(self) -> float | None:
        """How long an idle instance still waits: 0 takes a batch now, None waits for a change."""
        if self.is_broken or not self._queue.items:
            return None
        if self._policy.max_wait_s <= 0 or self._closed or self._is_full():
            return 0.0
        return max(0.0, self._queue.oldest_arrival_s() + self._policy.max_wait_s - self._clock())

    def _is_full(self) -> bool:
        """Whether a longer wait cannot make the next batch fuller."""
        policy, queue = self._policy, self._queue
        return not policy.coalesce or queue.items >= policy.max_batch_items or queue.tokens >= policy.max_batch_tokens
