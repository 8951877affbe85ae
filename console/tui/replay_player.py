"""Plays a stored run: the frames of a replay take the place of the session's frames."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from console.model.frame import Frame
from console.model.modes import ReplayState

if TYPE_CHECKING:
    from console.output.replay import Playback, Replay


class Player:
    """The position of a replay, which advances with `clock` (monotonic seconds)."""

    def __init__(self, replay: "Replay", playback: "Playback", clock: Callable[[], float]) -> None:
        self._replay = replay
        self._playback = playback
        self._clock = clock
        self._advanced_at_s = clock()

    def frame(self, live: Frame) -> Frame:
        """The frame at the current position. `live`: the session's frame; its state is shown beside the replay."""
        playback = self._advance()
        replaying = ReplayState(
            run_id=self._replay.run_id,
            position_s=playback.position_s,
            length_s=playback.length_s,
            speed=playback.speed,
            paused=playback.paused,
            live_engine=live.engine.state.value,
            live_load=live.load.running,
        )
        return replace(self._replay.at(playback.position_s), replay=replaying, console_cpu=live.console_cpu)

    def change(self, changed: "Callable[[Playback], Playback]") -> None:
        """Changes pause, speed or position. `changed`: the new playback from the current one."""
        self._playback = changed(self._advance())

    def _advance(self) -> "Playback":
        now_s = self._clock()
        self._playback = self._playback.advanced(now_s - self._advanced_at_s)
        self._advanced_at_s = now_s
        return self._playback
