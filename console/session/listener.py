"""Callbacks of a session for what records it. The session does not know who listens."""

from collections.abc import Callable
from typing import Any, Protocol

from console.model.supervise import Supervisor


class SessionListener(Protocol):
    """Called on the event loop's thread, right after the frame has changed. Times are the session's."""

    def load_started(self, started_s: float) -> None:
        """A load started, or the running one changed: the frame's load specification holds since `started_s`."""
        ...

    def load_stopped(self, failure: str) -> None:
        """The load stopped. `failure`: why it did not stop in order; empty otherwise."""
        ...

    def interval_ended(self) -> None:
        """`Session.intervals` has a new interval."""
        ...

    def conditions_changed(self, time_s: float) -> None:
        """A switch was requested, or knobs were changed, at `time_s`."""
        ...

    def cut_over(self, time_s: float) -> None:
        """A switch is complete: its deployment has served since `time_s`. The frame's engine follows later."""
        ...

    def switches_changed(self) -> None:
        """The frame's markers or switch deltas have changed."""
        ...


class Listeners:
    """The listeners of a session. A fault of one is logged, and does not reach the session."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._listeners: list[SessionListener] = []

    def add(self, listener: SessionListener) -> None:
        self._listeners.append(listener)

    def tell(self, callback: Callable[[SessionListener], Any]) -> None:
        """Calls `callback` with each listener."""
        for listener in self._listeners:
            self._supervisor.call("recording the session", callback, listener)
