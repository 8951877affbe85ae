"""What the actions on the view do: marks, the pinned figures, one tile alone, panning, jumping."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from console.actions.action import LIVE, REPLAY
from console.model.errors import CommandRefused
from console.tui.jump_targets import DIALOGS, MODE_TARGETS, TILES, JumpTarget
from console.tui.view import DEFAULT_ZOOM, ZOOMS_S, Pinned

if TYPE_CHECKING:
    from console.model.frame import Frame
    from console.tui.app_port import AppPort

Perform = Callable[["AppPort"], Awaitable[None]]


def _zoom(to: Callable[[int], int]) -> Perform:
    async def zoom(app: "AppPort") -> None:
        app.look(zoom=max(0, min(len(ZOOMS_S) - 1, to(app.view.zoom))))

    return zoom


async def _zoom_reset(app: "AppPort") -> None:
    app.look(zoom=DEFAULT_ZOOM, until_s=None)


def _pan(by: int) -> Perform:
    async def pan(app: "AppPort") -> None:
        view, points = app.view, app.frame.points
        if not view.span_s:
            raise CommandRefused("All that is kept is on the charts: {zoom_in} shows less of it, then this moves")
        newest_s = points[-1].time_s
        first_end_s = min(newest_s, points[0].time_s + view.span_s)
        end_s = newest_s if view.until_s is None else view.until_s
        if by < 0 and end_s <= first_end_s:
            raise CommandRefused("The charts begin here: {zoom_out} shows a longer time, {zoom_reset} the last minute")
        end_s = max(first_end_s, end_s + by * view.span_s / 2)
        app.look(until_s=None if end_s >= newest_s else end_s)

    return pan


async def _log_y(app: "AppPort") -> None:
    app.look(log_y=not app.view.log_y)


async def _mark(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import TextDialog

    session = app.open_session
    time_s = session.frame.now_s

    def marked(label: str | None) -> None:
        if label is not None:
            session.mark(label, time_s)

    about = "At the moment at which you pressed the key, on every chart and in the log. Words help, but need not be."
    app.open_dialog(TextDialog(app.frame, app.view, "mark", about, optional=True), marked)


async def _pin(app: "AppPort") -> None:
    if app.view.pinned is not None:
        app.look(pinned=None)
        app.show_message("Unpinned: {pin} pins the present figures")
        return
    pinned = Pinned(app.frame.window, _what_runs(app.frame))
    app.look(pinned=pinned)
    app.show_message(f"Pinned: {pinned.name}. Now shows the change against it; {{pin}} ends that")


def _what_runs(frame: "Frame") -> str:
    spec = frame.load.spec
    pace = f"{spec.rate:g}/s" if spec.is_open else f"c{spec.concurrency}"
    return f"{frame.engine.effective.cell or frame.engine.requested.cell} b{spec.batch} {pace}"


async def _maximise(app: "AppPort") -> None:
    from console.tui.screens.dialogs.jump import JumpDialog

    if app.view.big:
        app.look(big="")
        return

    def chosen(place: JumpTarget | None) -> None:
        if place is not None:
            app.look(big=place.tile)

    app.open_dialog(JumpDialog(app.frame, app.view, "maximise", (TILES,)), chosen)


async def _jump(app: "AppPort") -> None:
    from console.tui.screens.dialogs.jump import JumpDialog

    def chosen(place: JumpTarget | None) -> None:
        if place is not None:
            app.command(_go(app, place))

    app.open_dialog(JumpDialog(app.frame, app.view, "jump", ((*MODE_TARGETS, *DIALOGS), TILES)), chosen)


async def _go(app: "AppPort", place: JumpTarget) -> None:
    stays = app.current_mode == REPLAY and _is_of_the_replay(app, place)
    if place.mode != app.current_mode and not stays:
        await app.go_to(place.mode)
    if place.mode == LIVE:
        app.look(big=place.tile)
    if place.action:
        await app.action_perform(place.action)


def _is_of_the_replay(app: "AppPort", place: JumpTarget) -> bool:
    """A tile of Live, or a dialog about what is shown: the replay has its own. What acts on the engine is not there."""
    return bool(place.tile) or (bool(place.action) and REPLAY in app.registry.by_id[place.action].modes)


async def _open_loop(app: "AppPort") -> None:
    session = app.open_session
    spec, reached = session.frame.load.spec, session.frame.window.requests_per_s
    if spec.is_open:
        await session.change_load(replace(spec, rate=0.0))
        app.show_message(f"Closed loop: {spec.concurrency} in flight")
    elif reached is not None:
        rate = max(float(f"{reached * OPEN_SHARE:.2g}"), 0.01)
        await session.change_load(replace(spec, rate=rate))
        app.show_message(f"Open loop: {rate:g} requests/s on a schedule, 80 % of what was reached; {{load}} changes it")


OPEN_SHARE = 0.8
"""Of what a closed loop reached: an open loop at all of it would only grow a backlog."""

PERFORM: dict[str, Perform] = {
    "zoom_in": _zoom(lambda zoom: zoom - 1),
    "zoom_out": _zoom(lambda zoom: zoom + 1),
    "zoom_reset": _zoom_reset,
    "pan_left": _pan(-1),
    "pan_right": _pan(1),
    "log_y": _log_y,
    "mark": _mark,
    "pin": _pin,
    "maximise": _maximise,
    "jump": _jump,
    "open_loop": _open_loop,
}
