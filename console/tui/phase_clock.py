"""The elapsed time of the engine's phase, which grows between the engine's reports."""

from dataclasses import replace

from console.model.engine import EngineState
from console.model.frame import Frame


class PhaseClock:
    """Remembers when the current start or switch began."""

    def __init__(self) -> None:
        self._since: tuple[EngineState, float] | None = None

    def with_elapsed_time(self, frame: Frame) -> Frame:
        """Returns the frame with the elapsed time of its phase: the engine reports a phase only when it begins."""
        phase, state = frame.engine.phase, frame.engine.state
        if phase is None or state not in {EngineState.STARTING, EngineState.SWITCHING}:
            self._since = None
            return frame
        if self._since is None or self._since[0] is not state:
            self._since = (state, frame.now_s - phase.elapsed_s)
        elapsed_s = max(phase.elapsed_s, frame.now_s - self._since[1])
        if elapsed_s == phase.elapsed_s:
            return frame
        return replace(frame, engine=replace(frame.engine, phase=replace(phase, elapsed_s=elapsed_s)))
