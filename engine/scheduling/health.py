"""The health of a deployment's instances, derived from the result of each batch and from probes.

A probe is a forward pass of a known text. A deployment is unhealthy when

- no instance is left;
- every instance hangs in a forward pass;
- a probe gives no usable vector. A probe runs after FAILED_BATCHES consecutive batches without a usable vector: the
  texts of one caller may be the cause. It also runs when no batch has succeeded for a while (`ProbeSchedule`).

One batch with a usable vector makes it healthy again. While it is unhealthy and has an instance, it still runs
requests, and probes: their forward passes show when it works again.
"""

import logging
from collections.abc import Callable

from engine.scheduling.contract import BatchRecord

_log = logging.getLogger(__name__)

FAILED_BATCHES = 5
"""Consecutive failed batches after which a probe decides. Chosen: more than the consecutive poison texts that callers
send by chance, and few enough to be reached within seconds at some batches per second."""

DEFAULT_PROBE_IDLE_S = 30.0
"""Seconds without a successful batch after which a probe runs, unless an option says otherwise. Chosen: load balancers
ask about every 10 s and act after several failures."""

RECHECK_S = 2.0
"""Seconds between two probes of an unhealthy deployment, which may get no requests that show it to work. Chosen."""

NO_INSTANCE = "every instance was lost: switch to another deployment, or restart the engine"
ONLY_FAILURES = "forward passes give no usable vector, nor does that of a known text: see the engine's log"
ALL_HUNG = "every instance hung in a forward pass, and none that replaces it has answered yet: see the engine's log"
NOT_LIVE = "no deployment is live yet: wait for the ready line"


class Health:
    """The health of one scheduler. Used from the event loop's thread only."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] | None = None
        """Called after each change of `problem`."""
        self.on_doubt: Callable[[], None] | None = None
        """Starts a probe, which ends in `batch_done` or `probe_failed`. None: failed batches decide without a probe."""
        self.successful_batches = 0
        """Batches with a usable vector so far, probes included."""
        self._problem: str | None = None
        self._consecutive_failures = 0

    @property
    def problem(self) -> str | None:
        """Why the scheduler cannot answer, with the next step; None while it can."""
        return self._problem

    @property
    def may_recover(self) -> bool:
        """Whether the scheduler cannot answer, and a forward pass may show that it can again."""
        return self._problem in (ONLY_FAILURES, ALL_HUNG)

    def batch_done(self, record: BatchRecord) -> None:
        """Records a batch that was run and delivered. It counts as failed if none of its texts has a usable vector."""
        if record.poisoned + record.refused >= record.items:
            self.batch_failed()
            return
        self.successful_batches += 1
        self._consecutive_failures = 0
        if self.may_recover:
            self._set_problem(None)

    def batch_failed(self) -> None:
        """Records a batch that failed, or was lost to a fault in forming, running or delivering it."""
        self._consecutive_failures += 1
        if self._consecutive_failures < FAILED_BATCHES or self._problem is not None:
            return
        if self.on_doubt is None:
            self._set_problem(ONLY_FAILURES)
        else:
            self.on_doubt()

    def probe_failed(self) -> None:
        """Records that a known text got no usable vector."""
        if self._problem is None:
            self._set_problem(ONLY_FAILURES)

    def instance_lost(self, left: int) -> None:
        """Records a lost or hung instance. `left`: the instances that remain, its replacement included."""
        if not left:
            self._set_problem(NO_INSTANCE)

    def all_hung(self) -> None:
        """Records that no instance is left of which a pass has ever ended."""
        if self._problem != NO_INSTANCE:
            self._set_problem(ALL_HUNG)

    def _set_problem(self, problem: str | None) -> None:
        if problem != self._problem:
            self._problem = problem
            if self.on_change is not None:
                self.on_change()


class ProbeSchedule:
    """When a deployment needs a probe because no batch shows whether it works."""

    def __init__(self, idle_s: float, clock: Callable[[], float]) -> None:
        """`idle_s`: seconds without a successful batch after which a healthy deployment is probed."""
        self._idle_s = idle_s
        self._clock = clock
        self._health: Health | None = None
        self._successful_batches = 0
        self._since_s = clock()

    def is_due(self, health: Health) -> bool:
        """Returns whether to probe now. Expects to be called at least every RECHECK_S; counts a probe as made."""
        now_s = self._clock()
        if health is not self._health or health.successful_batches != self._successful_batches:
            self._health, self._successful_batches, self._since_s = health, health.successful_batches, now_s
        if now_s - self._since_s < (RECHECK_S if health.may_recover else self._idle_s):
            return False
        self._since_s = now_s
        return True


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
