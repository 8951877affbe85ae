"""What the event loop does while one caller at a time asks: it runs the text itself, and stays awake for the next.

Two hops between threads are a tenth of a millisecond, of one and a quarter that a short text takes. But a loop that
computes does not see who else has come, and two callers are served faster by two instances. So PROBES requests in a row
must have met nobody while instances ran them; then the loop takes over, and after each PERIOD the instances run LOOKS
more: any other caller's next request arrives during one of those.

A loop that sleeps lets its core halt, and a halted core takes another tenth to wake up. So where the next request
mostly comes at once, the loop looks for it for a moment before it sleeps.
"""

from collections import deque
from math import inf

from engine.scheduling.contract import BatchRecord

PROBES = 16
PERIOD = 80
LOOKS = 4
MAX_TOKENS = 32
LONGEST_PASS_S = 0.0015
"""The median of the last PROBES passes: what else is on the loop (health checks, new connections) waits about so long.
"""
AWAKE_S = 0.001
"""How long the loop looks for the next request, if most of the last PROBES came as soon after their answers."""


class InlinePolicy:
    """Watches arrivals, passes and answers; belongs to the event loop's thread."""

    def __init__(self, *, may_stay_awake: bool) -> None:
        """`may_stay_awake`: there are other cores for whoever else needs one."""
        self._may_stay_awake = may_stay_awake
        self._in_a_row = 0
        self._passes_s: deque[float] = deque(maxlen=PROBES)
        self._answered_s = -inf
        self._gaps_s: deque[float] = deque(maxlen=PROBES)
        self.awake_until_s = -inf
        """On the clock of `now_s`: when the loop may sleep, should nothing have come."""

    def arrived(self, now_s: float, *, alone: bool) -> None:
        """A request came: a single text while nothing else is in flight, or anything else."""
        if not alone:
            self._in_a_row = 0
            self._gaps_s.clear()
            return
        self._in_a_row += 1
        self._gaps_s.append(now_s - self._answered_s)

    def ran(self, record: BatchRecord) -> None:
        """A batch was run, by whomever."""
        if record.items == 1 and record.tokens <= MAX_TOKENS:
            self._passes_s.append(record.infer_s)

    def all_answered(self, now_s: float) -> None:
        """A request was answered, and nothing is in flight any more."""
        self._answered_s = now_s
        expected = self._may_stay_awake and len(self._gaps_s) == PROBES and _median(self._gaps_s) <= AWAKE_S
        self.awake_until_s = now_s + AWAKE_S if expected else -inf

    @property
    def should_run_inline(self) -> bool:
        """Whether the loop should run the next one."""
        before = self._in_a_row - 1
        if before < PROBES or before % PERIOD < LOOKS or len(self._passes_s) < PROBES:
            return False
        return _median(self._passes_s) <= LONGEST_PASS_S


def _median(values: deque[float]) -> float:
    return sorted(values)[len(values) // 2]
