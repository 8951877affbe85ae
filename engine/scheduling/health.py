"""The health of a deployment's instances, derived from the result of each batch.

A deployment is unhealthy when no instance is left, or when FAILED_BATCHES consecutive batches gave no usable vector.
One batch with a usable vector makes it healthy again. While it is unhealthy because of failing batches, it still runs
requests: their forward passes show when it works again. A single caller that sends the same poison text FAILED_BATCHES
times, without other requests between, also makes it unhealthy, until another text is embedded.
"""

import logging
from collections.abc import Callable

from engine.scheduling.contract import BatchRecord

_log = logging.getLogger(__name__)

FAILED_BATCHES = 5
"""Consecutive failed batches after which a deployment is unhealthy. Chosen: more than the consecutive poison texts that
callers send by chance, and few enough to be reached within seconds at some batches per second."""

NO_INSTANCE = "every instance was lost: switch to another deployment, or restart the engine"
ONLY_FAILURES = f"the last {FAILED_BATCHES} batches gave no usable vector: see the engine's log"
NOT_LIVE = "no deployment is live yet: wait for the ready line"


class Health:
    """The health of one scheduler. Used from the event loop's thread only."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] | None = None
        """Called after each change of `problem`."""
        self._problem: str | None = None
        self._consecutive_failures = 0

    @property
    def problem(self) -> str | None:
        """Why the scheduler cannot answer, with the next step; None while it can."""
        return self._problem

    def batch_done(self, record: BatchRecord) -> None:
        """Records a batch that was run and delivered. It counts as failed if none of its texts has a usable vector."""
        if record.poisoned >= record.items:
            self.batch_failed()
            return
        self._consecutive_failures = 0
        if self._problem == ONLY_FAILURES:
            self._set_problem(None)

    def batch_failed(self) -> None:
        """Records a batch that was lost to a fault in forming, running or delivering it."""
        self._consecutive_failures += 1
        if self._consecutive_failures >= FAILED_BATCHES and self._problem is None:
            self._set_problem(ONLY_FAILURES)

    def instance_lost(self, left: int) -> None:
        """Records a lost instance. `left`: the instances that remain, its replacement included."""
        if not left:
            self._set_problem(NO_INSTANCE)

    def _set_problem(self, problem: str | None) -> None:
        if problem != self._problem:
            self._problem = problem
            if self.on_change is not None:
                self.on_change()


class Readiness:
    """Whether the engine can answer: the health of the live deployment. Used from the event loop's thread only."""

    def __init__(self) -> None:
        self._health: Health | None = None
        self._listeners: list[Callable[[], None]] = []
        self._last_problem: str | None = NOT_LIVE

    @property
    def problem(self) -> str | None:
        """Why the engine cannot answer, with the next step; None while it can."""
        return NOT_LIVE if self._health is None else self._health.problem

    def follow(self, health: Health) -> None:
        """Follows the health of a new live deployment instead of the previous one."""
        if self._health is not None:
            self._health.on_change = None
        self._health = health
        health.on_change = self._changed
        self._changed()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Adds a listener, which is called after each change of `problem`."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        before, self._last_problem = self._last_problem, self.problem
        if self._last_problem == before:
            return
        if self._last_problem is not None:
            _log.error("not serving: %s", self._last_problem)
        elif before != NOT_LIVE:
            _log.warning("serving again")
        for listener in self._listeners:
            try:
                listener()
            except Exception:  # must not fail the batch that changed the health
                _log.exception("a listener of the engine's readiness failed")
