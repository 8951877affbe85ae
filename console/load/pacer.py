"""Passes each arrival to the event loop when it is due.

A separate thread waits for the due times, because event loops round their timers to whole milliseconds, up or down, and
a wait on a lock does not. No request is sent early, and no rounding error is measured as latency.
"""

import asyncio
import threading
import time
from collections.abc import Callable

from console.load.arrivals import Arrivals

_LONGEST_WAIT_S = 3600.0


class Pacer:
    """Calls `send(due_s)` on the running event loop for every arrival, in order; overdue arrivals at once."""

    def __init__(
        self, arrivals: Arrivals, send: Callable[[float], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._arrivals = arrivals
        self._send = send
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._wakeup = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)
        self._thread.start()

    def change(self, rate: float, ramp_s: float = 0.0) -> None:
        """Changes the rate from now on."""
        with self._lock:
            self._arrivals.change(self._clock(), rate, ramp_s)
        self._wakeup.set()

    def stop(self) -> None:
        """Stops the thread. `send` is not called again, not even for arrivals already passed to the event loop."""
        self._stopped = True
        self._wakeup.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            with self._lock:
                due = self._take_due()
                wait_s = self._arrivals.next_s - self._clock()
            if due:
                self._loop.call_soon_threadsafe(self._dispatch, due)
            elif self._wakeup.wait(min(max(wait_s, 0.0), _LONGEST_WAIT_S)):
                self._wakeup.clear()

    def _take_due(self) -> list[float]:
        now_s, due = self._clock(), list[float]()
        while self._arrivals.next_s <= now_s:
            due.append(self._arrivals.next_s)
            self._arrivals.advance()
        return due

    def _dispatch(self, due: list[float]) -> None:
        if self._stopped:
            return
        for due_s in due:
            self._send(due_s)
