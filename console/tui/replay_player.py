"""Plays a stored run on the person's clock: the frames of a replay, where the session's would stand."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from console.model.frame import Frame
from console.model.modes import ReplayState

if TYPE_CHECKING:
    from console.output.replay import Playback, Replay


class Player:
    """Owns where the replay is. `clock`: monotonic seconds."""

    def __init__(self, replay: "Replay", playback: "Playback", clock: Callable[[], float]) -> None:
        self._replay = replay
        self._playback = playback
        self._clock = clock
        self._seen_s = clock()

    def frame(self, live: Frame) -> Frame:
        """The frame of this moment. `live`: the session's, which goes on and is told of."""
        playback = self._until_now()
        with_keys = ReplayState(
            run_id=self._replay.run_id,
            position_s=playback.position_s,
            length_s=playback.length_s,
            speed=playback.speed,
            paused=playback.paused,
            live_engine=live.engine.state.value,
            live_load=live.load.running,
        )
        return replace(self._replay.at(playback.position_s), replay=with_keys, console_cpu=live.console_cpu)

    def change(self, change: "Callable[[Playback], Playback]") -> None:
        """Pause, speed or place, from now on."""
        self._playback = change(self._until_now())

    def _until_now(self) -> "Playback":
        now_s = self._clock()
        self._playback = self._playback.advanced(now_s - self._seen_s)
        self._seen_s = now_s
        return self._playback
