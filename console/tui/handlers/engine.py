"""What each action of the registry does in the app. Commands go to the session; their refusals become a message."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from console.actions.cli_form import compare_command, replay_command, run_command, runs_command, sweep_command
from console.model.engine import DOWN, Deployment, EngineState
from console.model.load import LoadSpec
from console.tui.handlers import experiments, export, replay, view
from console.tui.themes import following

if TYPE_CHECKING:
    from console.tui.app_port import AppPort
    from console.tui.screens.dialogs.knobs import KnobChoice
    from console.tui.screens.dialogs.load import LoadChoice
    from console.tui.screens.dialogs.switch import SwitchChoice

COMMAND_OF_MODE = {"sweep": sweep_command, "runs": runs_command, "compare": compare_command, "replay": replay_command}
"""What `y` copies; elsewhere the present load as a run."""


async def perform(app: "AppPort", action_id: str) -> None:
    """Performs an action that the registry says is available."""
    await PERFORM[action_id](app)


async def _engine(app: "AppPort") -> None:
    session = app.open_session
    if app.frame.engine.state in DOWN:
        await session.start_engine()
    else:
        await session.stop_engine()


async def _restart(app: "AppPort") -> None:
    await app.open_session.restart_engine()


async def _open_switch(app: "AppPort", by: str) -> None:
    from console.tui.screens.dialogs.switch import SwitchDialog

    def chosen(choice: "SwitchChoice | None") -> None:
        if choice is not None:
            app.command(app.open_session.switch(choice.target, strict=choice.strict))

    strict = app.open_session.engine_spec.strict
    app.open_dialog(SwitchDialog(app.frame, app.view, by=by, strict=strict), chosen)


async def _backend(app: "AppPort") -> None:
    await _open_switch(app, "backend")


async def _precision(app: "AppPort") -> None:
    await _open_switch(app, "precision")


async def _cancel_switch(app: "AppPort") -> None:
    await app.open_session.cancel_switch()


async def _coalesce(app: "AppPort") -> None:
    await app.open_session.set_coalescing(not app.frame.engine.batching.coalesce)


async def _knobs(app: "AppPort") -> None:
    from console.tui.screens.dialogs.knobs import KnobsDialog

    def chosen(choice: "KnobChoice | None") -> None:
        if choice is not None:
            app.command(_apply_knobs(app, choice))

    app.open_dialog(KnobsDialog(app.frame, app.view), chosen)


async def _apply_knobs(app: "AppPort", choice: "KnobChoice") -> None:
    session = app.open_session
    if choice.batching:
        await session.configure(**choice.batching)
    if choice.instances or choice.threads:
        await session.switch(Deployment(instances=choice.instances, threads=choice.threads))


async def _load(app: "AppPort") -> None:
    from console.tui.screens.dialogs.load import LoadDialog

    def chosen(choice: "LoadChoice | None") -> None:
        if choice is not None:
            app.command(_apply_load(app, choice))

    app.open_dialog(LoadDialog(app.frame, app.view), chosen)


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


async def _load_toggle(app: "AppPort") -> None:
    session = app.open_session
    if session.frame.load.running:
        await session.stop_load()
    else:
        await session.start_load(session.frame.load.spec)


def _change(make: Callable[[LoadSpec], LoadSpec]) -> Callable[["AppPort"], Awaitable[None]]:
    async def change(app: "AppPort") -> None:
        session = app.open_session
        await session.change_load(make(session.frame.load.spec))

    return change


async def _freeze(app: "AppPort") -> None:
    app.toggle_freeze()


async def _details(app: "AppPort") -> None:
    from console.tui.screens.dialogs.details import DetailsDialog

    app.open_dialog(DetailsDialog(app.frame, app.view), None)


async def _help(app: "AppPort") -> None:
    from console.tui.screens.dialogs.help import HelpDialog

    app.open_dialog(HelpDialog(app.frame, app.view, app.engine_spec), None)


async def _copy_cli(app: "AppPort") -> None:
    form = COMMAND_OF_MODE.get(app.current_mode, run_command)
    command = form(app.frame, app.engine_spec)
    app.copy_to_clipboard(command)
    app.show_message(command, title="Copied as a command", timeout=10)


def _copied(action_id: str) -> Callable[["AppPort"], Awaitable[None]]:
    async def copy(app: "AppPort") -> None:
        command = app.cli_form(app.registry.by_id[action_id])
        app.copy_to_clipboard(command)
        app.show_message(command, title="Copied, for another terminal", timeout=15)

    return copy


async def _theme(app: "AppPort") -> None:
    app.theme = following(app.theme)


async def _screenshot(app: "AppPort") -> None:
    app.show_message(app.save_screenshot(), title="Screenshot saved")


async def _palette(app: "AppPort") -> None:
    app.action_command_palette()


async def _quit(app: "AppPort") -> None:
    app.ask_to_quit()


def _mode(name: str) -> Callable[["AppPort"], Awaitable[None]]:
    async def switch(app: "AppPort") -> None:
        await app.go_to(name)

    return switch


def _log(what: str) -> Callable[["AppPort"], Awaitable[None]]:
    async def act(app: "AppPort") -> None:
        from console.tui.screens.modes.log import LogScreen

        screen = app.screen
        if not isinstance(screen, LogScreen):
            return
        if what == "filter":
            screen.open_filter()
        elif what == "follow":
            screen.toggle_follow()
        elif not screen.next_warning():
            app.show_message("No warning passes the filter: esc clears it", severity="warning")

    return act


PERFORM: dict[str, Callable[["AppPort"], Awaitable[None]]] = {
    **experiments.PERFORM,
    **replay.PERFORM,
    **view.PERFORM,
    "mode_live": _mode("live"),
    "mode_sweep": _mode("sweep"),
    "mode_runs": _mode("runs"),
    "mode_compare": _mode("compare"),
    "mode_log": _mode("log"),
    "engine": _engine,
    "restart": _restart,
    "backend": _backend,
    "precision": _precision,
    "cancel_switch": _cancel_switch,
    "coalesce": _coalesce,
    "knobs": _knobs,
    "load": _load,
    "load_toggle": _load_toggle,
    "batch_down": _change(lambda spec: replace(spec, batch=max(1, spec.batch // 2))),
    "batch_up": _change(lambda spec: replace(spec, batch=spec.batch * 2)),
    "concurrency_down": _change(lambda spec: replace(spec, concurrency=max(1, spec.concurrency // 2))),
    "concurrency_up": _change(lambda spec: replace(spec, concurrency=spec.concurrency * 2)),
    "freeze": _freeze,
    "details": _details,
    "log_filter": _log("filter"),
    "log_follow": _log("follow"),
    "log_warning": _log("warning"),
    "export": export.export,
    "report": export.report,
    "copy_cli": _copy_cli,
    "max_load": _copied("max_load"),
    "profile": _copied("profile"),
    "calibrate": _copied("calibrate"),
    "theme": _theme,
    "screenshot": _screenshot,
    "palette": _palette,
    "help": _help,
    "quit": _quit,
}
