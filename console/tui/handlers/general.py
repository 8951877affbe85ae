"""Handlers that need no engine: modes, log, dialogs that are only read, copied commands, theme, screenshot, quit."""

from typing import TYPE_CHECKING

from console.actions.cli_form import compare_command, replay_command, run_command, runs_command, sweep_command
from console.tui.handlers import export
from console.tui.handlers.handler import Handler
from console.tui.themes import next_theme

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

COMMAND_OF_MODE = {"sweep": sweep_command, "runs": runs_command, "compare": compare_command, "replay": replay_command}
"""The command that is copied in each mode. In the other modes it is the current load as a run."""


def _go_to(mode: str) -> Handler:
    async def go_to(app: "AppPort") -> None:
        await app.go_to(mode)

    return go_to


async def _toggle_freeze(app: "AppPort") -> None:
    app.toggle_freeze()


async def _open_details(app: "AppPort") -> None:
    from console.tui.screens.dialogs.details import DetailsDialog

    app.open_dialog(DetailsDialog(app.frame, app.view), None)


async def _open_help(app: "AppPort") -> None:
    from console.tui.screens.dialogs.help import HelpDialog

    app.open_dialog(HelpDialog(app.frame, app.view, app.engine_spec), None)


def _log(what: str) -> Handler:
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
            app.show_message("No warning matches the filter: esc clears it", severity="warning")

    return act


async def _copy_mode_command(app: "AppPort") -> None:
    form = COMMAND_OF_MODE.get(app.current_mode, run_command)
    command = form(app.frame, app.engine_spec)
    app.copy_to_clipboard(command)
    app.show_message(command, title="Copied as a command", timeout=10)


def _copy_command(action_id: str) -> Handler:
    async def copy(app: "AppPort") -> None:
        command = app.cli_form(app.registry.by_id[action_id])
        app.copy_to_clipboard(command)
        app.show_message(command, title="Copied, for another terminal", timeout=15)

    return copy


async def _next_theme(app: "AppPort") -> None:
    app.theme = next_theme(app.theme)


async def _save_screenshot(app: "AppPort") -> None:
    app.show_message(app.save_screenshot(), title="Screenshot saved")


async def _open_palette(app: "AppPort") -> None:
    app.action_command_palette()


async def _quit(app: "AppPort") -> None:
    app.ask_to_quit()


HANDLERS: dict[str, Handler] = {
    "mode_live": _go_to("live"),
    "mode_sweep": _go_to("sweep"),
    "mode_runs": _go_to("runs"),
    "mode_compare": _go_to("compare"),
    "mode_log": _go_to("log"),
    "freeze": _toggle_freeze,
    "details": _open_details,
    "help": _open_help,
    "log_filter": _log("filter"),
    "log_follow": _log("follow"),
    "log_warning": _log("warning"),
    "export": export.export,
    "report": export.report,
    "copy_cli": _copy_mode_command,
    "max_load": _copy_command("max_load"),
    "profile": _copy_command("profile"),
    "calibrate": _copy_command("calibrate"),
    "theme": _next_theme,
    "screenshot": _save_screenshot,
    "palette": _open_palette,
    "quit": _quit,
}
