"""Handlers of the view: zoom, panning, marks, pinned figures, the maximised tile, jumping."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from console.actions.action import LIVE, REPLAY
from console.model.errors import CommandRefused
from console.tui.handlers.handler import Handler
from console.tui.jump_targets import DIALOGS, MODE_TARGETS, TILES, JumpTarget
from console.tui.view import DEFAULT_ZOOM, ZOOMS_S, Pinned

if TYPE_CHECKING:
    from console.model.frame import Frame
    from console.tui.app_port import AppPort


def _zoom(changed: Callable[[int], int]) -> Handler:
    async def zoom(app: "AppPort") -> None:
        app.update_view(zoom=max(0, min(len(ZOOMS_S) - 1, changed(app.view.zoom))))

    return zoom


async def _reset_zoom(app: "AppPort") -> None:
    app.update_view(zoom=DEFAULT_ZOOM, until_s=None)


def _pan(by: int) -> Handler:
    """Moves the charts by half their span: -1 back in time, 1 forward."""

    async def pan(app: "AppPort") -> None:
        view, points = app.view, app.frame.points
        if not view.span_s:
            raise CommandRefused("The charts show all recorded data: zoom in with {zoom_in}, then pan")
        newest_s = points[-1].time_s
        first_end_s = min(newest_s, points[0].time_s + view.span_s)
        end_s = newest_s if view.until_s is None else view.until_s
        if by < 0 and end_s <= first_end_s:
            raise CommandRefused(
                "This is the start of the data: {zoom_out} shows a longer time, {zoom_reset} the last minute"
            )
        end_s = max(first_end_s, end_s + by * view.span_s / 2)
        app.update_view(until_s=None if end_s >= newest_s else end_s)

    return pan


async def _toggle_log_scale(app: "AppPort") -> None:
    app.update_view(log_y=not app.view.log_y)


async def _mark(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import TextDialog

    session = app.open_session
    time_s = session.frame.now_s  # when the key was pressed, not when the label was typed

    def on_answer(label: str | None) -> None:
        if label is not None:
            session.mark(label, time_s)

    about = "Label for this mark (optional)"
    app.open_dialog(TextDialog(app.frame, app.view, "mark", about, optional=True), on_answer)


async def _toggle_pin(app: "AppPort") -> None:
    if app.view.pinned is not None:
        app.update_view(pinned=None)
        app.show_message("Unpinned: {pin} pins the current figures")
        return
    pinned = Pinned(app.frame.window, _deployment_and_load(app.frame))
    app.update_view(pinned=pinned)
    app.show_message(f"Pinned: {pinned.name}. Now shows the change from it; {{pin}} unpins")


def _deployment_and_load(frame: "Frame") -> str:
    """`onnx·fp32 b32 c4`."""
    spec = frame.load.spec
    pace = f"{spec.rate:g}/s" if spec.is_open else f"c{spec.concurrency}"
    return f"{frame.engine.effective.cell or frame.engine.requested.cell} b{spec.batch} {pace}"


async def _toggle_maximise(app: "AppPort") -> None:
    from console.tui.screens.dialogs.jump import JumpDialog

    if app.view.maximised:
        app.update_view(maximised="")
        return

    def on_answer(target: JumpTarget | None) -> None:
        if target is not None:
            app.update_view(maximised=target.tile)

    app.open_dialog(JumpDialog(app.frame, app.view, "maximise", (TILES,)), on_answer)


async def _jump(app: "AppPort") -> None:
    from console.tui.screens.dialogs.jump import JumpDialog

    def on_answer(target: JumpTarget | None) -> None:
        if target is not None:
            app.command(_go_to(app, target))

    app.open_dialog(JumpDialog(app.frame, app.view, "jump", ((*MODE_TARGETS, *DIALOGS), TILES)), on_answer)


async def _go_to(app: "AppPort", target: JumpTarget) -> None:
    stays = app.current_mode == REPLAY and _exists_in_replay(app, target)
    if target.mode != app.current_mode and not stays:
        await app.go_to(target.mode)
    if target.mode == LIVE:
        app.update_view(maximised=target.tile)
    if target.action:
        await app.action_perform(target.action)


def _exists_in_replay(app: "AppPort", target: JumpTarget) -> bool:
    """Whether the replay has this tile or dialog too. It has none that acts on the engine."""
    return bool(target.tile) or (bool(target.action) and REPLAY in app.registry.by_id[target.action].modes)


HANDLERS: dict[str, Handler] = {
    "zoom_in": _zoom(lambda zoom: zoom - 1),
    "zoom_out": _zoom(lambda zoom: zoom + 1),
    "zoom_reset": _reset_zoom,
    "pan_left": _pan(-1),
    "pan_right": _pan(1),
    "log_y": _toggle_log_scale,
    "mark": _mark,
    "pin": _toggle_pin,
    "maximise": _toggle_maximise,
    "jump": _jump,
}
