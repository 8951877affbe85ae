"""Probes: forward passes of a known text, which show whether a deployment works."""

from collections.abc import Callable

from engine.scheduling.contract import TokenIds
from engine.scheduling.health import Health
from engine.scheduling.job import Job
from engine.scheduling.queue import Ticket


class Prober:
    """Runs at most one probe at a time. Used from the event loop's thread only."""

    def __init__(self, text: TokenIds, health: Health, submit: Callable[[TokenIds], Job | None]) -> None:
        """`text`: empty: there is no known text, and failed batches decide about the health alone.

        `submit`: queues a text for an instance, never for an inline pass, whose hang would end the process; None: it
        cannot be queued.
        """
        self._text = text
        self._health = health
        self._submit = submit
        self._running: Ticket | None = None
        if text:
            health.on_doubt = self.start

    @property
    def running(self) -> Ticket | None:
        """The probe that runs, None if there is none."""
        return self._running

    def start(self) -> None:
        """Starts a probe, whose outcome decides about the health. No effect while one runs or without a text."""
        if self._running is None and self._text and (job := self._submit(self._text)) is not None:
            self._running = job.ticket
            job.add_done_callback(self._ended)

    def _ended(self, error: BaseException | None) -> None:
        self._running = None
        if error is not None:
            self._health.probe_failed()
