"""Handlers of a replay. They send nothing to the session, which continues unchanged."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from console.actions.action import REPLAY, RUNS
from console.tui.handlers.handler import Handler
from console.tui.replay_player import Player

if TYPE_CHECKING:
    from collections.abc import Callable

    from console.output.replay import Playback
    from console.tui.app_port import AppPort


async def start_replay(app: "AppPort", run_id: str, speed: float = 1.0) -> None:
    """Replays a run from its start. Raises CommandRefused if the run cannot be read or has no intervals."""
    from console.output.replay import Playback, Replay

    opened = await app.experiments_port.runs.run(run_id)
    replay = await asyncio.to_thread(Replay, opened)
    app.player = Player(replay, Playback(replay.length_s, speed), app.clock)
    app.view = replace(app.view.unfrozen(), maximised="")
    app.tick()
    await app.go_to(REPLAY)


async def _replay_selected(app: "AppPort") -> None:
    await start_replay(app, app.experiments.selected_run_id)


async def _close_replay(app: "AppPort") -> None:
    await app.go_to(RUNS)


def _change_playback(changed: "Callable[[Playback], Playback]") -> Handler:
    async def change_playback(app: "AppPort") -> None:
        if app.player is not None:
            app.player.change(changed)
            app.tick()

    return change_playback


def _seek(direction: int) -> Handler:
    def seek(playback: "Playback") -> "Playback":
        from console.output.replay import SEEK_S

        return playback.sought(direction * SEEK_S)

    return _change_playback(seek)


HANDLERS: dict[str, Handler] = {
    "run_replay": _replay_selected,
    "replay_pause": _change_playback(lambda playback: playback.toggled()),
    "replay_slower": _change_playback(lambda playback: playback.slower()),
    "replay_faster": _change_playback(lambda playback: playback.faster()),
    "replay_back": _seek(-1),
    "replay_on": _seek(1),
    "replay_begin": _change_playback(lambda playback: playback.sought(-playback.length_s)),
    "replay_end": _change_playback(lambda playback: playback.sought(playback.length_s)),
    "replay_leave": _close_replay,
}
