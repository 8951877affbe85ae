"""One registry: an action gives its keys, its palette row, its help row and its CLI form. Nothing here draws."""

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
from console.actions.replay import REPLAY_ACTIONS
from console.actions.view import LOG_ACTIONS, VIEW_ACTIONS
from console.model.frame import Frame

EXPORTED = frozenset({LIVE, SWEEP, RUNS, COMPARE, REPLAY})

LIVE_ONLY = frozenset({LIVE})


def _max_load(frame: Frame) -> str | None:
    if frame.load.running:
        return "The search sends a load of its own, and this one would disturb it: {load_toggle} stops it first"
    return None


_MODES = (
    Action("mode_live", ("1",), "Live", "Figures, charts, the engine and its load", "Modes"),
    Action(
        "mode_sweep", ("2",), "Sweep", "Many cells measured in turn, the matrix filling in", "Modes", cli=sweep_command
    ),
    Action("mode_runs", ("3",), "Runs", "All that was measured: filter, tag, note, open", "Modes", cli=runs_command),
    Action("mode_compare", ("4",), "Compare", "Two to four runs side by side", "Modes", cli=compare_command),
    Action("mode_log", ("5",), "Log", "What the engine, the load driver and the console said", "Modes"),
)
_CONSOLE = (
    Action(
        "export",
        ("e",),
        "Export what is shown",
        "As JSON, as CSV, or the screen as SVG, into a file",
        "Console",
        short="Export",
        bar_rank=11,
        modes=EXPORTED,
    ),
    Action(
        "copy_cli",
        ("y",),
        "Copy as a command",
        "What is on the screen as an `embedconsole` command",
        "Console",
        short="Copy CLI",
        bar_rank=10,
        cli=run_command,
    ),
    Action(
        "max_load",
        (),
        "Highest load under an SLO",
        "Copies the command: from another terminal, on this engine",
        "Console",
        modes=LIVE_ONLY,
        unavailable=_max_load,
        cli=max_load_command,
    ),
    Action(
        "profile",
        (),
        "Profile the engine",
        "Copies the command: where its threads spend their time",
        "Console",
        modes=LIVE_ONLY,
        cli=profile_command,
    ),
    Action(
        "calibrate",
        (),
        "Calibrate the load driver",
        "Copies the command: what the driver itself can do at most",
        "Console",
        modes=LIVE_ONLY,
        cli=calibrate_command,
    ),
    Action("theme", ("t",), "Next theme", "Dark, light, high contrast", "Console", short="Theme", bar_rank=18),
    Action("screenshot", ("f12",), "Save a screenshot", "The screen as an SVG file in this directory", "Console"),
    Action("palette", ("ctrl+p",), "Command palette", "Every action by name", "Console", short="Palette", bar_rank=19),
    Action(
        "jump",
        ("ctrl+o",),
        "Jump",
        "To any mode, tile or dialog by one letter",
        "Console",
        short="Jump",
        bar_rank=19,
    ),
    Action(
        "help",
        ("?",),
        "Help",
        "Keys, glyphs and words",
        "Console",
        short="Help",
        bar_rank=2,
        cli=keys_command,
    ),
    Action(
        "quit",
        ("q", "ctrl+c"),
        "Quit",
        "Asks what to do with a running engine; ^c copies a selection if there is one",
        "Console",
        short="Quit",
        bar_rank=1,
        cli=connect_command,
    ),
)

ACTIONS: tuple[Action, ...] = (
    *_MODES,
    *(replace(action, unavailable=not_while_sweeping(action.unavailable)) for action in ENGINE_ACTIONS),
    *SWEEP_ACTIONS,
    *RUNS_ACTIONS,
    *COMPARE_ACTIONS,
    *REPLAY_ACTIONS,
    *VIEW_ACTIONS,
    *LOG_ACTIONS,
    *_CONSOLE,
)

BY_ID = {action.id: action for action in ACTIONS}
