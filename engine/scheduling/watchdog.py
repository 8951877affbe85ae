"""The watchdog: a thread that detects forward passes that hang, and an event loop that hangs.

It costs a request nothing. An instance notes the texts of its current pass, and the watchdog looks at that note a few
times a second: a pass that it sees for longer than the limit of such a pass hangs. The instance is then replaced in the
event loop (`Scheduler.on_hang`). The event loop is asked to run a callback; if it does not run it in time, it hangs in
an inline pass or elsewhere, and nothing in this process can be answered any more.

Time is counted only while this process runs: a process that was suspended or got no core has not hung.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from engine.scheduling.contract import TokenIds

_log = logging.getLogger(__name__)

PERIOD_S = 0.25
"""Seconds between two looks. A hang is detected at most two periods after its limit. Chosen: four wake-ups per second
cost nothing measurable."""


@dataclass(frozen=True, slots=True)
class PassLimits:
    """How long a forward pass may take before it counts as hung."""

    fixed_s: float | None = None
    """The limit of every pass, if the user set one."""
    minimum_s: float = 10.0
    """The lowest limit from a measured cost. Chosen: longer than a busy machine delays a pass."""
    factor: float = 20.0
    """The limit relative to the measured cost. Chosen: more than a core shared with other processes slows it down."""
    unmeasured_s: float = 60.0
    """The limit before any pass was measured. Chosen: a runtime may compile kernels in its first passes."""

    def limit_s(self, expected_s: float | None) -> float:
        """Returns the limit of a pass that is expected to take so long; None: not measured."""
        if self.fixed_s is not None:
            return self.fixed_s
        return self.unmeasured_s if expected_s is None else max(self.minimum_s, self.factor * expected_s)


class Watched(Protocol):
    """What the watchdog sees of a scheduler. Called in the watchdog's thread, except `on_hang`."""

    def current_passes(self) -> Iterable[tuple[Hashable, Sequence[TokenIds]]]:
        """Returns the instances in a forward pass, and the texts of the pass: the same object while it runs."""
        ...

    def limit_s(self, texts: Sequence[TokenIds]) -> float:
        """Returns how long a pass of these texts may take."""
        ...

    def on_hang(self, instance: Hashable, texts: Sequence[TokenIds], running_s: float) -> None:
        """Called in the event loop's thread when a pass is over its limit; it may have ended meanwhile."""
        ...


class Watchdog:
    """Watches the schedulers and the event loop of a process, from `start` to `stop`.

    Must be created in a running event loop. `on_loop_hang` and `on_deadline` are called in the watchdog's thread and
    are expected to end the process.
    """

    def __init__(
        self, loop_limit_s: float, on_loop_hang: Callable[[float], None], on_deadline: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`loop_limit_s`: how long the event loop may be busy with one callback."""
        self._loop = asyncio.get_running_loop()
        self._loop_limit_s = loop_limit_s
        self._on_loop_hang = on_loop_hang
        self._on_deadline = on_deadline
        self._clock = clock
        self._watched: tuple[Watched, ...] = ()  # replaced as a whole, because two threads use it
        self._seen: dict[Hashable, tuple[Sequence[TokenIds], float]] = {}
        self._checked_s = clock()
        self._awake_s = 0.0
        self._asked_s: float | None = None  # when the event loop was asked, on the clock of `_awake_s`
        self._deadline_s: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._checked_s = self._clock()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread without waiting for it. Idempotent."""
        self._stopped.set()

    def add(self, scheduler: Watched) -> None:
        """Watches the instances of a scheduler too."""
        self._watched = (*self._watched, scheduler)

    def remove(self, scheduler: Watched) -> None:
        """Watches the scheduler no longer. No effect if it was not watched."""
        self._watched = tuple(one for one in self._watched if one is not scheduler)

    def set_deadline(self, after_s: float) -> None:
        """Calls `on_deadline` when so many seconds have passed and the watchdog was not stopped.

        An earlier deadline stays.
        """
        self._deadline_s = min(self._clock() + after_s, inf if self._deadline_s is None else self._deadline_s)

    def check(self) -> None:
        """Looks once. Called by the thread, and by tests instead of it."""
        now_s = self._clock()
        self._awake_s += min(now_s - self._checked_s, 2 * PERIOD_S)
        self._checked_s = now_s
        if self._deadline_s is not None and now_s >= self._deadline_s:
            self._deadline_s = None
            self._on_deadline()
        if not self._loop.is_closed():
            self._check_passes()
            self._check_loop()

    def _check_passes(self) -> None:
        before, self._seen = self._seen, {}
        for scheduler in self._watched:
            for instance, texts in scheduler.current_passes():
                seen, since_s = before.get(instance, (None, 0.0))
                if seen is not texts:
                    since_s = self._awake_s
                self._seen[instance] = (texts, since_s)
                running_s = self._awake_s - since_s
                if running_s > 0 and running_s >= scheduler.limit_s(texts):
                    self._loop.call_soon_threadsafe(scheduler.on_hang, instance, texts, running_s)

    def _check_loop(self) -> None:
        if self._asked_s is None:
            self._asked_s = self._awake_s
            self._loop.call_soon_threadsafe(self._loop_runs)
        elif self._awake_s - self._asked_s >= self._loop_limit_s:
            busy_s, self._asked_s = self._awake_s - self._asked_s, None
            self._on_loop_hang(busy_s)

    def _loop_runs(self) -> None:
        self._asked_s = None

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            try:
                self.check()
            except Exception:  # must not end the thread: what it watches may hang later
                _log.exception("the watchdog failed to look")
