"""The list of all actions, in display order. Each gives a key, a palette row, a help row and a command form."""

from dataclasses import replace

from console.actions.action import COMPARE, LIVE, REPLAY, RUNS, SWEEP, Action
from console.actions.cli_form import (
    calibrate_command,
    compare_command,
    connect_command,
    keys_command,
    max_load_command,
    profile_command,
    run_command,
    runs_command,
    sweep_command,
)
from console.actions.engine import ENGINE_ACTIONS
from console.actions.experiments import COMPARE_ACTIONS, RUNS_ACTIONS, SWEEP_ACTIONS, not_while_sweeping
from console.actions.recording import RECORDING_ACTIONS
from console.actions.replay import REPLAY_ACTIONS
from console.actions.view import LOG_ACTIONS, VIEW_ACTIONS
from console.model.frame import Frame

EXPORTED = frozenset({LIVE, SWEEP, RUNS, COMPARE, REPLAY})

LIVE_ONLY = frozenset({LIVE})


def _max_load(frame: Frame) -> str | None:
    if frame.load.running:
        return "The search sends its own load, which the running load would disturb: {load_toggle} stops the load"
    return None


_MODES = (
    Action("mode_live", ("1",), "Live", "Live figures, charts, engine and load", "Modes"),
    Action("mode_sweep", ("2",), "Sweep", "Measure a grid of deployments and loads", "Modes", cli=sweep_command),
    Action("mode_runs", ("3",), "Runs", "Stored runs: filter, tag, note, open", "Modes", cli=runs_command),
    Action("mode_compare", ("4",), "Compare", "Two to four runs side by side", "Modes", cli=compare_command),
    Action("mode_log", ("5",), "Log", "Messages of the engine, the load generator and the console", "Modes"),
)
_CONSOLE = (
    Action(
        "export",
        ("e",),
        "Export the screen",
        "Write the data as JSON or CSV, or the screen as SVG",
        "Console",
        short="Export",
        bar_rank=11,
        modes=EXPORTED,
    ),
    Action(
        "copy_cli",
        ("y",),
        "Copy as a command",
        "Copy the `embedconsole` command that does the same",
        "Console",
        short="Copy CLI",
        bar_rank=10,
        cli=run_command,
    ),
    Action(
        "max_load",
        (),
        "Highest load under an SLO",
        "Copy the command, to run in another terminal on this engine",
        "Console",
        modes=LIVE_ONLY,
        unavailable=_max_load,
        cli=max_load_command,
    ),
    Action(
        "profile",
        (),
        "Profile the engine",
        "Copy the command that records where its threads spend time",
        "Console",
        modes=LIVE_ONLY,
        cli=profile_command,
    ),
    Action(
        "calibrate",
        (),
        "Calibrate the load generator",
        "Copy the command that measures the load generator's ceiling",
        "Console",
        modes=LIVE_ONLY,
        cli=calibrate_command,
    ),
    Action("theme", ("t",), "Next theme", "Dark, light, high contrast", "Console", short="Theme", bar_rank=18),
    Action("screenshot", ("f12",), "Save a screenshot", "Write the screen as SVG to this directory", "Console"),
    Action(
        "palette", ("ctrl+p",), "Command palette", "Find an action by name", "Console", short="Palette", bar_rank=19
    ),
    Action(
        "jump",
        ("ctrl+o",),
        "Jump",
        "Go to a mode, tile or dialog with one letter",
        "Console",
        short="Jump",
        bar_rank=19,
    ),
    Action(
        "help",
        ("?",),
        "Help",
        "Keys, marks and terms",
        "Console",
        short="Help",
        bar_rank=2,
        cli=keys_command,
    ),
    Action(
        "quit",
        ("q", "ctrl+c"),
        "Quit",
        "Asks whether to stop a running engine; ^c copies a selection first",
        "Console",
        short="Quit",
        bar_rank=1,
        cli=connect_command,
    ),
)

ACTIONS: tuple[Action, ...] = (
    *_MODES,
    *(replace(action, unavailable=not_while_sweeping(action.unavailable)) for action in ENGINE_ACTIONS),
    *RECORDING_ACTIONS,
    *SWEEP_ACTIONS,
    *RUNS_ACTIONS,
    *COMPARE_ACTIONS,
    *REPLAY_ACTIONS,
    *VIEW_ACTIONS,
    *LOG_ACTIONS,
    *_CONSOLE,
)

BY_ID = {action.id: action for action in ACTIONS}
