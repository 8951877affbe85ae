"""Admission: whether one more request fits, decided before any work is done for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from types import TracebackType
from typing import Self

from engine.errors import Overloaded

RATE_WINDOW_S = 2.0
"""How far back the completion rate looks: completions fade by 1/e in this time."""
SHORTEST_RETRY_S = 0.05
LONGEST_RETRY_S = 5.0
UNMEASURED_RETRY_S = 0.5
"""What to tell a caller before anything has been completed."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """How much may be unanswered at once, over all requests."""

    max_queued_items: int = 10_000
    max_queued_bytes: int = 64 * 1024 * 1024
    """Texts not yet tokenized."""
    max_queued_tokens: int = 2_000_000
    """Texts already tokenized. Known only after tokenizing, so it stops the next request, never the present one."""


class Reservation:
    """One request's place. As a context manager it is released at the end: completed unless an error leaves it."""

    __slots__ = ("_admission", "_items", "_size_bytes", "_tokens")

    def __init__(self, admission: "Admission", items: int, size_bytes: int) -> None:
        self._admission: Admission | None = admission
        self._items = items
        self._size_bytes = size_bytes
        self._tokens = 0

    def settle(self, tokens: int) -> None:
        """After tokenizing: the bytes are given back and the tokens taken. No effect once released."""
        if self._admission is not None:
            self._admission.exchange(self._size_bytes, tokens - self._tokens)
            self._size_bytes, self._tokens = 0, tokens

    def release(self, completed: bool) -> None:
        """Gives everything back; `completed` texts count towards the completion rate. Idempotent."""
        if self._admission is not None:
            admission, self._admission = self._admission, None
            admission.give_back(self._items, self._size_bytes, self._tokens, completed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release(completed=kind is None)


class Admission:
    """What all unanswered requests hold, against the limits. For one thread, the event loop's."""

    def __init__(self, limits: AdmissionLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._items = 0
        self._bytes = 0
        self._tokens = 0
        self._completed = 0.0  # items, faded by their age
        self._faded_at_s = self._started_s = clock()

    @property
    def queued_items(self) -> int:
        """Texts admitted and not yet answered."""
        return self._items

    @property
    def queued_bytes(self) -> int:
        """Bytes of text admitted and not yet tokenized."""
        return self._bytes

    @property
    def queued_tokens(self) -> int:
        """Tokens admitted and not yet answered."""
        return self._tokens

    def reserve(self, items: int, size_bytes: int) -> Reservation:
        """A place for a request of so many texts, or Overloaded with when to retry.

        `retry_after_s` is None if the request is larger than the whole queue: it can never fit.
        """
        limits = self.limits
        if items > limits.max_queued_items or size_bytes > limits.max_queued_bytes:
            raise Overloaded(
                f"the request is larger than the engine's whole queue of {limits.max_queued_items} texts and "
                f"{limits.max_queued_bytes} bytes: send it in parts",
                retry_after_s=None,
            )
        over = (
            _share(self._items + items - limits.max_queued_items, self._items),
            _share(self._bytes + size_bytes - limits.max_queued_bytes, self._bytes),
            _share(self._tokens + 1 - limits.max_queued_tokens, self._tokens),
        )
        if max(over) > 0:
            retry_after_s = self._retry_after_s(max(over) * self._items)
            raise Overloaded(f"the engine's queue is full: retry in {retry_after_s:.2f} s", retry_after_s)
        self._items += items
        self._bytes += size_bytes
        return Reservation(self, items, size_bytes)

    def exchange(self, size_bytes: int, tokens: int) -> None:
        """What Reservation.settle does."""
        self._bytes -= size_bytes
        self._tokens += tokens

    def give_back(self, items: int, size_bytes: int, tokens: int, completed: bool) -> None:
        """What Reservation.release does."""
        self._items -= items
        self._bytes -= size_bytes
        self._tokens -= tokens
        if completed:
            self._fade()
            self._completed += items

    def _retry_after_s(self, items_to_clear: float) -> float:
        """When so many texts will have been answered, going by the completion rate measured lately."""
        self._fade()
        if not self._completed:
            return UNMEASURED_RETRY_S
        # The integral of the fading over the time there was: the whole window, or less soon after the start.
        seen_s = RATE_WINDOW_S * (1 - exp(-(self._faded_at_s - self._started_s) / RATE_WINDOW_S))
        return min(LONGEST_RETRY_S, max(SHORTEST_RETRY_S, items_to_clear * seen_s / self._completed))

    def _fade(self) -> None:
        now = self._clock()
        self._completed *= exp((self._faded_at_s - now) / RATE_WINDOW_S)
        self._faded_at_s = now


def _share(excess: int, queued: int) -> float:
    """The part of the queue that has to go first; 0 if it fits."""
    return excess / queued if excess > 0 and queued else float(excess > 0)
