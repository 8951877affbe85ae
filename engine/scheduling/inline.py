"""Inline execution: when the event loop runs a single short text itself instead of waking an instance.

Two thread hops cost about 0.1 ms of the 1.25 ms that a short text takes. But the event loop cannot see new arrivals
while it computes, and two concurrent callers are served faster by two instances. Inline execution therefore starts
after INLINE_AFTER_REQUESTS consecutive single texts that overlapped with no other request. Of every
RECHECK_EVERY_REQUESTS requests, RECHECK_REQUESTS then go to an instance again: a concurrent caller's next request
arrives during one of them and ends inline execution.

An event loop that sleeps lets its core halt, and a halted core takes about 0.1 ms to wake up. Where the next request
usually follows at once, the loop polls for it for a moment before it sleeps.

Measurements: "Inline execution for a single caller" in docs/performance.md.
"""

from collections import deque
from math import inf

from engine.scheduling.contract import BatchRecord

INLINE_AFTER_REQUESTS = 16
"""Consecutive requests without overlap before inline execution starts. Also the number of forward passes and of gaps
between requests whose medians are used. Chosen."""

RECHECK_EVERY_REQUESTS = 80
"""The period, in requests, at which requests go to an instance again."""

RECHECK_REQUESTS = 4
"""Requests of each period that go to an instance. Measured: 4 of 80 gave 1.05 times the rate of 16 of 80."""

MAX_INLINE_TOKENS = 32
"""The longest text, in tokens, that the event loop runs. Chosen."""

MAX_INLINE_PASS_S = 0.0015
"""The longest median forward pass, in seconds, for which the event loop runs texts. Chosen: other work of the loop
(health checks, new connections) waits about this long."""

MAX_POLL_S = 0.001
"""How long, in seconds, the loop polls for the next request. It polls if the median gap between an answer and the next
request is at most this long. Measured: 1.10 times the rate of a single caller, with no more CPU time per text."""


class InlinePolicy:
    """Decides from arrivals, forward passes and answers. Used from the event loop's thread only."""

    def __init__(self, *, may_poll: bool) -> None:
        """`may_poll`: whether the loop may poll. On a single core it would take the core from the caller."""
        self._may_poll = may_poll
        self._consecutive = 0
        self._passes_s: deque[float] = deque(maxlen=INLINE_AFTER_REQUESTS)
        self._answered_s = -inf
        self._gaps_s: deque[float] = deque(maxlen=INLINE_AFTER_REQUESTS)
        self.poll_until_s = -inf
        """When the loop may sleep if no request has arrived, on the clock of `now_s`."""

    def record_arrival(self, now_s: float, *, is_single: bool) -> None:
        """Records a request. `is_single`: it is one text, and no other request is in flight."""
        if not is_single:
            self._consecutive = 0
            self._gaps_s.clear()
            return
        self._consecutive += 1
        self._gaps_s.append(now_s - self._answered_s)

    def record_batch(self, record: BatchRecord) -> None:
        """Records a forward pass, of an instance or inline."""
        if record.items == 1 and record.tokens <= MAX_INLINE_TOKENS:
            self._passes_s.append(record.infer_s)

    def record_idle(self, now_s: float) -> None:
        """Records that a request was answered and no other request is in flight."""
        self._answered_s = now_s
        follows_at_once = len(self._gaps_s) == INLINE_AFTER_REQUESTS and _median(self._gaps_s) <= MAX_POLL_S
        self.poll_until_s = now_s + MAX_POLL_S if self._may_poll and follows_at_once else -inf

    @property
    def should_run_inline(self) -> bool:
        """Whether the event loop should run the text that has just arrived."""
        before = self._consecutive - 1
        if before < INLINE_AFTER_REQUESTS or before % RECHECK_EVERY_REQUESTS < RECHECK_REQUESTS:
            return False
        return len(self._passes_s) == INLINE_AFTER_REQUESTS and _median(self._passes_s) <= MAX_INLINE_PASS_S


def _median(values: deque[float]) -> float:
    return sorted(values)[len(values) // 2]
