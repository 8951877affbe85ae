"""What the actions of a replay do. The session is never asked for anything: it goes on as it is."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from console.actions.action import REPLAY, RUNS
from console.tui.replay_player import Player

if TYPE_CHECKING:
    from console.output.replay import Playback
    from console.tui.app_port import AppPort

Perform = Callable[["AppPort"], Awaitable[None]]


async def begin(app: "AppPort", run_id: str, speed: float = 1.0) -> None:
    """Shows the run from its beginning. Raises CommandRefused for one that cannot be read, or has kept nothing."""
    from console.output.replay import Playback, Replay

    opened = await app.experiments_port.runs.run(run_id)
    replay = await asyncio.to_thread(Replay, opened)
    app.player = Player(replay, Playback(replay.length_s, speed), app.clock)
    app.view = replace(app.view.thawed(), big="")
    app.tick()
    await app.go_to(REPLAY)


async def _begin_here(app: "AppPort") -> None:
    await begin(app, app.experiments.selected_run_id)


async def _leave(app: "AppPort") -> None:
    await app.go_to(RUNS)


def _change(change: "Callable[[Playback], Playback]") -> Perform:
    async def act(app: "AppPort") -> None:
        if app.player is not None:
            app.player.change(change)
            app.tick()

    return act


def _seek(direction: int) -> Perform:
    def sought(playback: "Playback") -> "Playback":
        from console.output.replay import SEEK_S

        return playback.sought(direction * SEEK_S)

    return _change(sought)


PERFORM: dict[str, Perform] = {
    "run_replay": _begin_here,
    "replay_pause": _change(lambda playback: playback.toggled()),
    "replay_slower": _change(lambda playback: playback.slower()),
    "replay_faster": _change(lambda playback: playback.faster()),
    "replay_back": _seek(-1),
    "replay_on": _seek(1),
    "replay_begin": _change(lambda playback: playback.sought(-playback.length_s)),
    "replay_end": _change(lambda playback: playback.sought(playback.length_s)),
    "replay_leave": _leave,
}
