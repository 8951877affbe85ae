"""Admission control: accepts or refuses a request before any work is done for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from types import TracebackType
from typing import Self

from engine.errors import Overloaded

RATE_WINDOW_S = 2.0
"""Time constant of the completion rate, in seconds: a completion's weight decays to 1/e in this time. Chosen."""

MIN_RETRY_S = 0.05
MAX_RETRY_S = 5.0
"""Bounds of `retry_after_s`, in seconds. Chosen."""

DEFAULT_RETRY_S = 0.5
"""`retry_after_s` before any request is completed. Chosen."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """The most that may be unanswered at once, over all requests."""

    max_queued_items: int = 10_000
    """Texts."""
    max_queued_bytes: int = 64 * 1024 * 1024
    """Bytes of texts that are not tokenized yet."""
    max_queued_tokens: int = 2_000_000
    """Tokens of texts that are tokenized. The number is known only after tokenizing, so this limit refuses later
    requests and never the request that exceeds it."""


class Reservation:
    """The share of the limits that one request holds.

    As a context manager it is released at the end of the block: as completed, unless the block raised.
    """

    __slots__ = ("_admission", "_items", "_size_bytes", "_tokens")

    def __init__(self, admission: "Admission", items: int, size_bytes: int) -> None:
        self._admission: Admission | None = admission
        self._items = items
        self._size_bytes = size_bytes
        self._tokens = 0

    def set_tokens(self, tokens: int) -> None:
        """Replaces the reserved bytes by tokens, after tokenizing. No effect once released."""
        if self._admission is not None:
            self._admission.set_tokens(self._size_bytes, tokens - self._tokens)
            self._size_bytes, self._tokens = 0, tokens

    def release(self, completed: bool) -> None:
        """Releases everything. `completed`: the texts count towards the completion rate. Idempotent."""
        if self._admission is not None:
            admission, self._admission = self._admission, None
            admission.release(self._items, self._size_bytes, self._tokens, completed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release(completed=kind is None)


class Admission:
    """Compares what all unanswered requests hold with the limits. Used from the event loop's thread only."""

    def __init__(self, limits: AdmissionLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._items = 0
        self._bytes = 0
        self._tokens = 0
        self._completed = 0.0  # texts, weighted by age
        self._decayed_at_s = self._started_s = clock()

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
        """Reserves room for a request. Raises Overloaded if it does not fit now.

        The error's `retry_after_s` is None if the request is larger than the whole queue and can never fit.
        """
        limits = self.limits
        if items > limits.max_queued_items or size_bytes > limits.max_queued_bytes:
            raise Overloaded(
                f"the request is larger than the engine's whole queue of {limits.max_queued_items} texts and "
                f"{limits.max_queued_bytes} bytes: send it in parts",
                retry_after_s=None,
            )
        over = (
            _excess_share(self._items + items - limits.max_queued_items, self._items),
            _excess_share(self._bytes + size_bytes - limits.max_queued_bytes, self._bytes),
            _excess_share(self._tokens + 1 - limits.max_queued_tokens, self._tokens),
        )
        if max(over) > 0:
            retry_after_s = self._retry_after_s(max(over) * self._items)
            raise Overloaded(f"the engine's queue is full: retry in {retry_after_s:.2f} s", retry_after_s)
        self._items += items
        self._bytes += size_bytes
        return Reservation(self, items, size_bytes)

    def set_tokens(self, size_bytes: int, tokens: int) -> None:
        """Implements Reservation.set_tokens: removes bytes and adds tokens."""
        self._bytes -= size_bytes
        self._tokens += tokens

    def release(self, items: int, size_bytes: int, tokens: int, completed: bool) -> None:
        """Implements Reservation.release."""
        self._items -= items
        self._bytes -= size_bytes
        self._tokens -= tokens
        if completed:
            self._decay()
            self._completed += items

    def _retry_after_s(self, items_to_clear: float) -> float:
        """The time until so many texts are answered, at the recent completion rate."""
        self._decay()
        if not self._completed:
            return DEFAULT_RETRY_S
        # The integral of the weights over the elapsed time: RATE_WINDOW_S, or less soon after the start.
        weight_s = RATE_WINDOW_S * (1 - exp(-(self._decayed_at_s - self._started_s) / RATE_WINDOW_S))
        return min(MAX_RETRY_S, max(MIN_RETRY_S, items_to_clear * weight_s / self._completed))

    def _decay(self) -> None:
        now = self._clock()
        self._completed *= exp((self._decayed_at_s - now) / RATE_WINDOW_S)
        self._decayed_at_s = now


def _excess_share(excess: int, queued: int) -> float:
    """The fraction of the queue that must be answered first; 0 if the request fits."""
    return excess / queued if excess > 0 and queued else float(excess > 0)
