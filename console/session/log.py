"""The session's log: a bounded ring of lines from the engine, the load generator and the console."""

import re
from collections import deque
from collections.abc import Callable
from datetime import datetime

from console.model.frame import LogLine

LINES_KEPT = 2000
_LONGEST_TEXT = 2000
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


def local_time() -> str:
    """HH:MM:SS of the wall clock."""
    return datetime.now().astimezone().strftime("%H:%M:%S")


class LogRing:
    """A ring buffer of lines. `lines` is an immutable snapshot, rebuilt only after a line was added."""

    def __init__(self, wall_time: Callable[[], str] = local_time) -> None:
        self._wall_time = wall_time
        self._ring: deque[LogLine] = deque(maxlen=LINES_KEPT)
        self._snapshot: tuple[LogLine, ...] = ()
        self.version = 0

    def add(self, source: str, level: str, text: str) -> None:
        """Adds a line without its terminal control sequences."""
        self.version += 1
        clean = _UNPRINTABLE.sub("", text)[:_LONGEST_TEXT]
        self._ring.append(LogLine(self.version, self._wall_time(), source, level, clean))

    @property
    def lines(self) -> tuple[LogLine, ...]:
        if self._ring and (not self._snapshot or self._snapshot[-1].sequence != self.version):
            self._snapshot = tuple(self._ring)
        return self._snapshot
