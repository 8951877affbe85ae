"""When the event loop runs a text itself: while one caller at a time asks, handing over to a thread only costs.

Two hops between threads are a tenth of a millisecond, of one and a quarter that a short text takes. But a loop that
computes does not see who else has come, and two callers are served faster by two instances. So PROBES requests in a row
must have met nobody while instances ran them; then the loop takes over, and looks again after each PERIOD.
"""

from collections import deque

from engine.scheduling.work import BatchRecord

PROBES = 16
PERIOD = 80
MAX_TOKENS = 32
LONGEST_PASS_S = 0.0015
"""The median of the last PROBES passes: what else is on the loop (health checks, new connections) waits about so long.
"""


class LoneTexts:
    """Watches arrivals and passes; belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._passes_s: deque[float] = deque(maxlen=PROBES)

    def arrived(self, *, alone: bool) -> None:
        """A request came: a single text while nothing else is in flight, or anything else."""
        self._in_a_row = self._in_a_row + 1 if alone else 0

    def ran(self, record: BatchRecord) -> None:
        """A batch was run, by whomever."""
        if record.items == 1 and record.tokens <= MAX_TOKENS:
            self._passes_s.append(record.infer_s)

    @property
    def are_the_loops(self) -> bool:
        """Whether the loop should run the next one."""
        if not self._in_a_row or (self._in_a_row - 1) % PERIOD < PROBES or len(self._passes_s) < PROBES:
            return False
        return sorted(self._passes_s)[PROBES // 2] <= LONGEST_PASS_S
