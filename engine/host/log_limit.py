"""Limits how often the log repeats itself: what clients can cause must not fill a disk."""

import logging
import time
from collections.abc import Callable

MAX_RECORDS = 5
"""Records of one kind that pass in an interval. Chosen: enough to see what differs between them."""

INTERVAL_S = 10.0
"""The interval, in seconds. Chosen: at most half a line per second of each kind."""

_MAX_KINDS = 1000


class RepetitionLimit(logging.Filter):
    """Lets MAX_RECORDS records of a kind pass in an interval; the next one that passes tells how many were left out.

    The kind of a record is its logger and its message without arguments.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}
        """By kind: the start of its interval, and the records in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether the record passes."""
        now_s = self._clock()
        kind = (record.name, str(record.msg)[:200])
        started_s, count = self._kinds.get(kind, (now_s, 0))
        if now_s - started_s >= INTERVAL_S:
            if count > MAX_RECORDS:
                record.msg = f"{record.getMessage()} ({count - MAX_RECORDS} more like the ones before were left out)"
                record.args = None
            started_s, count = now_s, 0
        if len(self._kinds) >= _MAX_KINDS:
            self._kinds.clear()
        self._kinds[kind] = (started_s, count + 1)
        return count < MAX_RECORDS
