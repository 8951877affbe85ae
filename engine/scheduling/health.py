"""Whether a deployment's instances can answer: a small state, fed with the outcome of each batch.

A deployment is unhealthy when no instance is left, or when FAILED_BATCHES batches in a row gave not one usable vector.
One batch with a usable vector makes it healthy again. While it is unhealthy because of failing batches, requests still
run: theirs are the forward passes that may show that it works again. A caller that sends one poison text alone so many
times in a row, while nobody else asks, makes it unhealthy too, until any other text is embedded.
"""

import logging
from collections.abc import Callable

from engine.scheduling.contract import BatchRecord

_log = logging.getLogger(__name__)

FAILED_BATCHES = 5
"""More than the poison texts that callers send by chance one after another; at a rate of some batches a second still
noticed within seconds."""

NO_INSTANCE = "every instance was lost: switch to another deployment, or restart the engine"
ONLY_FAILURES = f"the last {FAILED_BATCHES} batches gave no usable vector: see the engine's log"
NOT_LIVE = "no deployment is live yet: wait for the ready line"


class Health:
    """One scheduler's health. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] | None = None
        """Called after each change of `problem`."""
        self._problem: str | None = None
        self._failed_in_a_row = 0

    @property
    def problem(self) -> str | None:
        """Why it cannot answer, with the next step; None while it can."""
        return self._problem

    def batch_done(self, record: BatchRecord) -> None:
        """A batch was run and delivered. It counts as failed if none of its texts has a usable vector."""
        if record.poisoned >= record.items:
            self.batch_failed()
            return
        self._failed_in_a_row = 0
        if self._problem == ONLY_FAILURES:
            self._become(None)

    def batch_failed(self) -> None:
        """A batch came to nothing: a fault in forming, running or delivering it."""
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= FAILED_BATCHES and self._problem is None:
            self._become(ONLY_FAILURES)

    def instance_lost(self, left: int) -> None:
        """An instance's thread was lost; `left` instances serve on, its replacement included."""
        if not left:
            self._become(NO_INSTANCE)

    def _become(self, problem: str | None) -> None:
        if problem != self._problem:
            self._problem = problem
            if self.on_change is not None:
                self.on_change()


class Readiness:
    """Whether the engine can answer: the health of the deployment that is live. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._health: Health | None = None
        self._listeners: list[Callable[[], None]] = []
        self._told: str | None = NOT_LIVE

    @property
    def problem(self) -> str | None:
        """Why the engine cannot answer, with the next step; None while it can."""
        return NOT_LIVE if self._health is None else self._health.problem

    def follow(self, health: Health) -> None:
        """From now on this deployment is the live one; the one before counts no longer."""
        if self._health is not None:
            self._health.on_change = None
        self._health = health
        health.on_change = self._changed
        self._changed()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Has it called after each change of `problem`."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        before, self._told = self._told, self.problem
        if self._told == before:
            return
        if self._told is not None:
            _log.error("not serving: %s", self._told)
        elif before != NOT_LIVE:
            _log.warning("serving again")
        for listener in self._listeners:
            try:
                listener()
            except Exception:  # a listener's fault must not reach the batch that it hears of
                _log.exception("a listener to the engine's readiness failed")
