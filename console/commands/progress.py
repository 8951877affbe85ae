"""The progress of a run on stderr: on a terminal one line that is rewritten, otherwise one line per step."""

from typing import TextIO

from console.model.engine import EngineState
from console.model.frame import Frame


class Progress:
    """Shows frames. On a terminal each line overwrites the one before; `clear` erases the last one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._last = ""

    def show(self, frame: Frame, left_s: float | None) -> None:
        """Shows the frame. `left_s` is the time left to measure; None before the load has started."""
        step = _starting(frame) if left_s is None else _load_step(frame)
        self.say(step, step if left_s is None else _measuring(frame, left_s))

    def say(self, step: str, details: str = "") -> None:
        """Shows a step; a terminal shows `details` instead, if given."""
        if self._is_terminal:
            self._stream.write(f"\r\x1b[K{(details or step)[:100]}")
            self._stream.flush()
        elif step != self._last:
            self._last = step
            self._stream.write(step + "\n")
            self._stream.flush()

    def clear(self) -> None:
        """Erases the line."""
        if self._is_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _starting(frame: Frame) -> str:
    engine = frame.engine
    if engine.state is not EngineState.STARTING or engine.phase is None:
        return "starting the engine"
    step = engine.phase.detail if engine.phase.name == "starting" else engine.phase.summary
    return f"starting the engine: {step}" if step else "starting the engine"


def _load_step(frame: Frame) -> str:
    cell = frame.engine.effective.cell
    return f"{cell}: warming up" if frame.load.warming_up else f"{cell}: measuring"


def _measuring(frame: Frame, left_s: float) -> str:
    window = frame.window
    rate = f"{window.texts_per_s:,.0f} texts/s" if window.texts_per_s is not None else "…"
    p95 = f", p95 {window.latency.p95_ms:.1f} ms" if window.latency.p95_ms is not None else ""
    errors = sum(frame.load.errors.values())
    failed = f", {errors:,} errors" if errors else ""
    return f"{_load_step(frame)}, {left_s:.0f} s left, {rate}{p95}{failed}"
