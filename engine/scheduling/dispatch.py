"""Where the event loop hands texts over to the instances' threads: the queue, behind one lock."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable

from engine.scheduling.contract import BatchPolicy
from engine.scheduling.queue import Batch, BatchQueue, Ticket


class _Guard:
    """Holds the lock of the queue for a `with` block, and distrusts the queue after a fault inside one."""

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
    """A queue that many threads wait at. An instance takes a batch when it is idle, and the batch is formed then.

    A fault in the queue leaves it broken, whoever met it: nothing more is put into it or taken from it, and instances
    wait, until the event loop calls `repair`.
    """

    def __init__(self, policy: BatchPolicy, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._guard = _Guard(self._changed)
        self._queue = BatchQueue()
        self._policy = policy
        self._idle = 0
        self._ended = False
        self._taken: dict[int, Batch] = {}  # by id: what was taken and not yet settled

    @property
    def policy(self) -> BatchPolicy:
        """The policy of the next batch."""
        return self._policy

    def counts(self) -> tuple[int, int, int]:
        """The texts that wait for an instance, their tokens without padding, and the threads that wait for a batch."""
        return self._queue.items, self._queue.tokens, self._idle

    @property
    def is_broken(self) -> bool:
        """Whether a fault left the queue in a state that cannot be trusted, so that it waits for `repair`."""
        return self._guard.is_broken

    def put(self, ticket: Ticket) -> bool:
        """Queues a request; returns whether an instance is idle, so that `wake` is called for.

        Leaves the request to `repair` while the queue is broken.
        """
        with self._guard:
            if self.is_broken:
                return False
            self._queue.add(ticket)
            return self._idle > 0

    def wake(self) -> None:
        """Wakes as many idle instances as there are texts for."""
        with self._guard:
            if self._queue.items:
                self._changed.notify(min(self._idle, self._queue.items))

    def take_inline(self, instances: int, max_tokens: int) -> Batch | None:
        """The only text that waits, if it has at most `max_tokens` and all `instances` are idle; else None."""
        with self._guard:
            queue = self._queue
            alone = queue.items == 1 and queue.tokens <= max_tokens and self._idle == instances
            return self._take() if alone and self._policy.max_wait_s <= 0 and not self.is_broken else None

    def settle(self, batch: Batch) -> None:
        """Forgets a batch whose callers are about to be answered. Event loop thread only."""
        self._taken.pop(id(batch), None)

    def withdraw(self, ticket: Ticket) -> int:
        """Drops a request's queued texts; returns how many of its texts never ran. Idempotent."""
        with self._guard:
            return ticket.drop() if self.is_broken else self._queue.withdraw(ticket)

    def configure(self, policy: BatchPolicy) -> None:
        """Changes the policy from the next batch on."""
        with self._guard:
            self._policy = policy
            self._changed.notify_all()

    def taken_texts(self) -> Counter[Ticket]:
        """How many texts of each request are in batches that were taken and not settled. Event loop thread only."""
        with self._guard:
            return Counter(ticket for batch in self._taken.values() for _, _, _, ticket in batch.entries)

    def repair(self, tickets: Iterable[Ticket]) -> None:
        """Starts over with a new queue of these requests, none of whose texts was ever taken out of the old one."""
        with self._guard:
            queue = BatchQueue()
            for ticket in tickets:
                queue.add(ticket)
            self._queue = queue
            self._guard.is_broken = False
            self._changed.notify_all()

    def end(self) -> None:
        """Lets every thread go once the queue is empty."""
        with self._guard:
            self._ended = True
            self._changed.notify_all()

    def next_batch(self) -> Batch | None:
        """Waits for work, in an instance's thread. None: there will be no more."""
        with self._guard:
            self._idle += 1
            try:
                while True:
                    wait_s = self._wait_s()
                    if wait_s is None:
                        if self._ended and not self.is_broken:
                            return None
                        self._changed.wait()
                    elif wait_s > 0:
                        self._changed.wait(wait_s)
                    elif (batch := self._take()) is not None:
                        return batch
            finally:
                self._idle -= 1

    def _take(self) -> Batch | None:
        # A full batch that was waited for is not shared out again: fuller batches are what the wait is for.
        shared = self._policy.max_wait_s <= 0 or not self._is_full()
        batch = self._queue.take(self._policy, self._idle if shared else 1, self._clock())
        if batch is not None:
            self._taken[id(batch)] = batch
        elif self._queue.items:
            raise RuntimeError(f"the queue counts {self._queue.items} texts that it does not hold")
        return batch

    def _wait_s(self) -> float | None:
        """How long an idle instance has yet to wait: 0 is no longer, None until something changes."""
        if self.is_broken or not self._queue.items:
            return None
        if self._policy.max_wait_s <= 0 or self._ended or self._is_full():
            return 0.0
        return max(0.0, self._queue.oldest_arrival_s() + self._policy.max_wait_s - self._clock())

    def _is_full(self) -> bool:
        """Whether waiting longer could not make the next batch fuller."""
        policy, queue = self._policy, self._queue
        return not policy.coalesce or queue.items >= policy.max_batch_items or queue.tokens >= policy.max_batch_tokens
