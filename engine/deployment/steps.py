"""The events of a switch."""

import logging
from collections.abc import Callable

from engine.artifacts.prepare import Progress
from engine.deployment.target import Plan, SwitchState, SwitchStep

_log = logging.getLogger(__name__)


class SwitchSteps:
    """Emits the events of one switch. `epoch` returns the epoch of the live deployment at that moment."""

    def __init__(
        self, plan: Plan, clock: Callable[[], float], epoch: Callable[[], int], on_step: Callable[[SwitchStep], None]
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._epoch = epoch
        self._on_step = on_step
        self._started_s = clock()
        self.past_cut_over = False

    def emit(self, state: SwitchState, message: str, progress: float = 0.0) -> None:
        """Reports one step."""
        self.past_cut_over = state >= SwitchState.CUT_OVER
        elapsed_s = self._clock() - self._started_s
        self._on_step(SwitchStep(state, message, progress, self._plan, self._epoch(), elapsed_s))

    def emit_preparation(self, progress: Progress) -> None:
        """Reports the progress of preparing an artifact; logs its warnings too."""
        if progress.warning:
            _log.warning("%s", progress.warning)
            self.emit(SwitchState.PREPARING, progress.warning)
            return
        share = progress.done / progress.total if progress.total else 0.0
        counted = f" {progress.done}/{progress.total}" if progress.total else ""
        self.emit(SwitchState.PREPARING, f"{progress.name}{counted}", share)
