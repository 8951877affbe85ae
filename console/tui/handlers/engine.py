"""Handlers of the engine and load actions. They send commands to the session; a refusal becomes a message."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from console.model.engine import DOWN, Deployment, EngineState
from console.model.load import LoadSpec
from console.tui.handlers.handler import Handler

if TYPE_CHECKING:
    from console.tui.app_port import AppPort
    from console.tui.screens.dialogs.knobs import KnobChoice
    from console.tui.screens.dialogs.load import LoadChoice
    from console.tui.screens.dialogs.switch import SwitchChoice


async def _start_or_stop(app: "AppPort") -> None:
    session = app.open_session
    if app.frame.engine.state in DOWN:
        await session.start_engine()
    elif session.frame.load.running:
        _ask_to_stop(app)
    else:
        await session.stop_engine()


def _ask_to_stop(app: "AppPort") -> None:
    """A load is a measurement in progress: one key pressed in the wrong mode must not end it."""
    from console.tui.screens.dialogs.ask import ConfirmDialog

    about = "The load is running and stops too."
    app.open_dialog(
        ConfirmDialog(app.frame, app.view, "stop the engine", "Stop the engine?", about, "stop"),
        lambda yes: app.command(app.open_session.stop_engine()) if yes else None,
    )


async def _restart(app: "AppPort") -> None:
    await app.open_session.restart_engine()


def _switch(by: str) -> Handler:
    async def open_switch(app: "AppPort") -> None:
        from console.tui.screens.dialogs.switch import SwitchDialog

        def on_answer(choice: "SwitchChoice | None") -> None:
            if choice is not None:
                app.command(app.open_session.switch(choice.target, strict=choice.strict))

        strict = app.open_session.engine_spec.strict
        app.open_dialog(SwitchDialog(app.frame, app.view, by=by, strict=strict), on_answer)

    return open_switch


async def _cancel_switch(app: "AppPort") -> None:
    await app.open_session.cancel_switch()


async def _toggle_coalescing(app: "AppPort") -> None:
    await app.open_session.set_coalescing(not app.frame.engine.batching.coalesce)


async def _open_knobs(app: "AppPort") -> None:
    from console.tui.screens.dialogs.knobs import KnobsDialog

    def on_answer(choice: "KnobChoice | None") -> None:
        if choice is not None:
            app.command(_apply_knobs(app, choice))

    app.open_dialog(KnobsDialog(app.frame, app.view), on_answer)


async def _apply_knobs(app: "AppPort", choice: "KnobChoice") -> None:
    session = app.open_session
    if choice.batching:
        await session.configure(**choice.batching)
    if choice.instances or choice.threads:
        await session.switch(Deployment(instances=choice.instances, threads=choice.threads))


async def _open_load(app: "AppPort") -> None:
    from console.tui.screens.dialogs.load import LoadDialog

    def on_answer(choice: "LoadChoice | None") -> None:
        if choice is not None:
            app.command(_apply_load(app, choice))

    app.open_dialog(LoadDialog(app.frame, app.view), on_answer)


async def _apply_load(app: "AppPort", choice: "LoadChoice") -> None:
    session = app.open_session
    if choice.then == "stop":
        await session.stop_load()
        return
    serving = app.frame.engine.state in {EngineState.RUNNING, EngineState.SWITCHING}
    if serving and choice.coalesce != app.frame.engine.batching.coalesce:
        await session.set_coalescing(choice.coalesce)
    if choice.then == "start":
        await session.start_load(choice.spec)
    elif choice.spec != session.frame.load.spec:
        await session.change_load(choice.spec)


async def _toggle_load(app: "AppPort") -> None:
    session = app.open_session
    if session.frame.load.running:
        await session.stop_load()
    else:
        await session.start_load(session.frame.load.spec)


def _change_load(changed: Callable[[LoadSpec], LoadSpec]) -> Handler:
    async def change(app: "AppPort") -> None:
        session = app.open_session
        await session.change_load(changed(session.frame.load.spec))

    return change


OPEN_SHARE = 0.8
"""Rate of a new open loop as a share of what the closed loop reached: at the full rate a backlog would grow."""


async def _toggle_open_loop(app: "AppPort") -> None:
    session = app.open_session
    spec, reached = session.frame.load.spec, session.frame.window.requests_per_s
    if spec.is_open:
        await session.change_load(replace(spec, rate=0.0))
        app.show_message(f"Closed loop: {spec.concurrency} in flight")
    elif reached is not None:
        rate = max(float(f"{reached * OPEN_SHARE:.2g}"), 0.01)
        await session.change_load(replace(spec, rate=rate))
        app.show_message(
            f"Open loop: {rate:g} requests/s, {OPEN_SHARE:.0%} of the closed loop's rate. {{load}} changes it"
        )


HANDLERS: dict[str, Handler] = {
    "engine": _start_or_stop,
    "restart": _restart,
    "backend": _switch("backend"),
    "precision": _switch("precision"),
    "cancel_switch": _cancel_switch,
    "coalesce": _toggle_coalescing,
    "knobs": _open_knobs,
    "load": _open_load,
    "load_toggle": _toggle_load,
    "open_loop": _toggle_open_loop,
    "batch_down": _change_load(lambda spec: replace(spec, batch=max(1, spec.batch // 2))),
    "batch_up": _change_load(lambda spec: replace(spec, batch=spec.batch * 2)),
    "concurrency_down": _change_load(lambda spec: replace(spec, concurrency=max(1, spec.concurrency // 2))),
    "concurrency_up": _change_load(lambda spec: replace(spec, concurrency=spec.concurrency * 2)),
}
