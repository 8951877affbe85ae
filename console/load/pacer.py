"""Hands each arrival to the event loop when it is due.

A thread of its own waits, because event loops round their timers to whole milliseconds, up or down, and a wait on a
lock does not: nothing is sent early, and the rounding is not measured as latency.
"""

import asyncio
import threading
import time
from collections.abc import Callable

from console.load.arrivals import Arrivals

_LONGEST_WAIT_S = 3600.0


class Pacer:
    """Calls `send(due_s)` on the running loop for every arrival, in order, the overdue ones at once."""

    def __init__(
        self, arrivals: Arrivals, send: Callable[[float], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._arrivals = arrivals
        self._send = send
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)
        self._thread.start()

    def change(self, rate: float, ramp_s: float = 0.0) -> None:
        """Another rate from now on."""
        with self._lock:
            self._arrivals.change(self._clock(), rate, ramp_s)
        self._woken.set()

    def stop(self) -> None:
        """No arrival is handed over any more, not even one that is on its way."""
        self._stopped = True
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            with self._lock:
                due = self._take_due()
                wait_s = self._arrivals.next_s - self._clock()
            if due:
                self._loop.call_soon_threadsafe(self._hand_over, due)
            elif self._woken.wait(min(max(wait_s, 0.0), _LONGEST_WAIT_S)):
                self._woken.clear()

    def _take_due(self) -> list[float]:
        now_s, due = self._clock(), list[float]()
        while self._arrivals.next_s <= now_s:
            due.append(self._arrivals.next_s)
            self._arrivals.advance()
        return due

    def _hand_over(self, due: list[float]) -> None:
        if self._stopped:
            return
        for due_s in due:
            self._send(due_s)
