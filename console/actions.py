"""One registry: an action gives its keys, its palette row, its help row and its CLI form. Nothing here draws."""

from dataclasses import replace

from console.action import COMPARE, LIVE, LOG, MODES, REPLAY, RUNS, SWEEP, Action
from console.actions_experiments import COMPARE_ACTIONS, RUNS_ACTIONS, SWEEP_ACTIONS, not_while_sweeping
from console.actions_replay import REPLAY_ACTIONS
from console.cli_form import (
    capabilities_command,
    compare_command,
    connect_command,
    run_command,
    runs_command,
    serve_command,
    sweep_command,
)
from console.frame import EngineState, Frame

MAX_BATCH = 1024
MAX_CONCURRENCY = 1024
MAX_RATE = 100_000


def _engine_own(frame: Frame) -> str | None:
    if frame.engine.remote:
        return f"The engine at {frame.engine.address} was not started here: stop it where it was started"
    if frame.engine.state is EngineState.DRAINING:
        return "The engine is finishing its last requests: wait until it has stopped"
    return None


def _engine_restart(frame: Frame) -> str | None:
    if frame.engine.state is EngineState.STOPPED and not frame.engine.remote:
        return "The engine is not running: s starts it"
    return _engine_own(frame)


def _engine_serving(frame: Frame) -> str | None:
    match frame.engine.state:
        case EngineState.RUNNING | EngineState.SWITCHING:
            return None
        case EngineState.STARTING:
            return "The engine is still starting: wait until it serves"
        case EngineState.DRAINING:
            return "The engine is stopping: s starts it again when it has stopped"
        case EngineState.LOST:
            return "The engine is lost: r restarts it"
        case EngineState.STOPPED:
            return "The engine is stopped: s starts it"


def _switch(frame: Frame) -> str | None:
    if frame.engine.state is EngineState.SWITCHING:
        return "A switch is in progress: wait for it, or cancel it with x"
    if reason := _engine_serving(frame):
        return reason
    return None if frame.capabilities else "The engine has not sent its capability matrix yet: try again in a second"


def _cancel_switch(frame: Frame) -> str | None:
    return None if frame.engine.state is EngineState.SWITCHING else "No switch is in progress: b or p begins one"


def _load_switch(frame: Frame) -> str | None:
    return None if frame.load.running else _engine_serving(frame)


def _batch_down(frame: Frame) -> str | None:
    return None if frame.load.spec.batch > 1 else "The batch size is 1 already: ] doubles it"


def _batch_up(frame: Frame) -> str | None:
    return None if frame.load.spec.batch < MAX_BATCH else f"The batch size is at {MAX_BATCH:,}: [ halves it"


def _concurrency_down(frame: Frame) -> str | None:
    return None if frame.load.spec.concurrency > 1 else "The concurrency is 1 already: } doubles it"


def _concurrency_up(frame: Frame) -> str | None:
    at_limit = frame.load.spec.concurrency >= MAX_CONCURRENCY
    return f"The concurrency is at {MAX_CONCURRENCY:,}: {{ halves it" if at_limit else None


def _details(frame: Frame) -> str | None:
    engine = frame.engine
    if engine.warnings or engine.evidence or engine.effective.backend:
        return None
    return "Nothing is served yet, so there is nothing to explain"


def _any_warning(frame: Frame) -> str | None:
    if any(entry.level in {"warning", "error"} for entry in frame.log):
        return None
    return "There is no warning in the log"


def _start_stop(frame: Frame) -> str:
    return "Start engine" if frame.engine.state in {EngineState.STOPPED, EngineState.LOST} else "Stop engine"


def _load_start_stop(frame: Frame) -> str:
    return "Stop load" if frame.load.running else "Start load"


LIVE_ONLY = frozenset({LIVE})
LIKE_LIVE = frozenset({LIVE, REPLAY})
LOG_ONLY = frozenset({LOG})
WITH_CHARTS = frozenset({LIVE, SWEEP, REPLAY})
STORED = frozenset({SWEEP, RUNS, COMPARE})

_MODES = (
    Action("mode_live", ("1",), "Live", "Figures, charts, the engine and its load", "Modes"),
    Action(
        "mode_sweep", ("2",), "Sweep", "Many cells measured in turn, the matrix filling in", "Modes", cli=sweep_command
    ),
    Action("mode_runs", ("3",), "Runs", "All that was measured: filter, tag, note, open", "Modes", cli=runs_command),
    Action("mode_compare", ("4",), "Compare", "Two to four runs side by side", "Modes", cli=compare_command),
    Action("mode_log", ("5",), "Log", "What the engine, the load driver and the console said", "Modes"),
)
_ENGINE_AND_LOAD = (
    Action(
        "engine",
        ("s",),
        "Start or stop the engine",
        "Start the engine; or stop it, after its last request",
        "Engine",
        short="Engine",
        bar_rank=4,
        modes=frozenset(MODES),
        unavailable=_engine_own,
        cli=serve_command,
        label=_start_stop,
    ),
    Action(
        "restart",
        ("r",),
        "Restart the engine",
        "Stop and start it as it was asked for, also when it was lost",
        "Engine",
        short="Restart",
        bar_rank=14,
        modes=LIVE_ONLY,
        unavailable=_engine_restart,
        cli=serve_command,
    ),
    Action(
        "backend",
        ("b",),
        "Switch the backend",
        "Choose a cell of the capability matrix; the load goes on",
        "Engine",
        short="Backend",
        bar_rank=5,
        modes=LIVE_ONLY,
        unavailable=_switch,
        cli=run_command,
    ),
    Action(
        "precision",
        ("p",),
        "Switch the precision",
        "The same matrix, in the live backend's row",
        "Engine",
        short="Precision",
        bar_rank=6,
        modes=LIVE_ONLY,
        unavailable=_switch,
        cli=run_command,
    ),
    Action(
        "cancel_switch",
        ("x",),
        "Cancel the switch",
        "Before its cut-over: the old deployment serves on",
        "Engine",
        short="Cancel switch",
        bar_rank=15,
        modes=LIVE_ONLY,
        unavailable=_cancel_switch,
    ),
    Action(
        "coalesce",
        ("c",),
        "Coalescing on or off",
        "Several requests in one batch, or one request one batch",
        "Engine",
        short="Coalesce",
        bar_rank=13,
        modes=LIVE_ONLY,
        unavailable=_engine_serving,
        cli=run_command,
    ),
    Action(
        "knobs",
        ("k",),
        "Knobs",
        "Instances, threads, token budget, texts a batch, wait: live; auto is what was measured",
        "Engine",
        modes=LIVE_ONLY,
        unavailable=_switch,
        cli=run_command,
    ),
    Action(
        "load",
        ("l",),
        "Load settings",
        "Batch, concurrency, workload, corpus, stream, coalescing",
        "Load",
        short="Load",
        bar_rank=3,
        modes=LIVE_ONLY,
        cli=run_command,
    ),
    Action(
        "load_toggle",
        ("L",),
        "Start or stop the load",
        "With the settings it has",
        "Load",
        short="Start/stop load",
        bar_rank=12,
        modes=LIVE_ONLY,
        unavailable=_load_switch,
        cli=run_command,
        label=_load_start_stop,
    ),
    Action(
        "batch_down",
        ("[",),
        "Halve the batch size",
        "Texts in a request",
        "Load",
        short="Batch",
        bar_rank=7,
        modes=LIVE_ONLY,
        unavailable=_batch_down,
        cli=run_command,
    ),
    Action(
        "batch_up",
        ("]",),
        "Double the batch size",
        "Texts in a request",
        "Load",
        bar_with="batch_down",
        modes=LIVE_ONLY,
        unavailable=_batch_up,
        cli=run_command,
    ),
    Action(
        "concurrency_down",
        ("{",),
        "Halve the concurrency",
        "Requests in flight",
        "Load",
        short="Concurrency",
        bar_rank=11,
        modes=LIVE_ONLY,
        unavailable=_concurrency_down,
        cli=run_command,
    ),
    Action(
        "concurrency_up",
        ("}",),
        "Double the concurrency",
        "Requests in flight",
        "Load",
        bar_with="concurrency_down",
        modes=LIVE_ONLY,
        unavailable=_concurrency_up,
        cli=run_command,
    ),
)
_VIEW = (
    Action(
        "freeze",
        ("space",),
        "Freeze or thaw the screen",
        "Drawing stops, measuring does not",
        "View",
        short="Freeze",
        bar_rank=8,
        modes=frozenset({LIVE, LOG}),
    ),
    Action(
        "zoom_in",
        ("+", "="),
        "Zoom in",
        "A shorter time on the charts: 30 s, 60 s, 2 min, 5 min, all",
        "View",
        bar_with="zoom_out",
        modes=WITH_CHARTS,
    ),
    Action(
        "zoom_out",
        ("-",),
        "Zoom out",
        "A longer time on the charts",
        "View",
        short="Zoom",
        bar_rank=9,
        modes=WITH_CHARTS,
    ),
    Action("zoom_reset", ("0",), "Zoom to 60 s", "Back to the usual minute", "View", modes=WITH_CHARTS),
    Action(
        "log_y",
        ("v",),
        "Latency on a log scale",
        "And back to a linear one",
        "View",
        short="Log-y",
        bar_rank=16,
        modes=LIKE_LIVE,
    ),
    Action(
        "details",
        ("i",),
        "Details of the warnings",
        "Every warning with its reason, its fix and the evidence",
        "View",
        short="Details",
        bar_rank=17,
        modes=LIKE_LIVE,
        unavailable=_details,
        cli=capabilities_command,
    ),
)
_LOG = (
    Action(
        "log_filter", ("/",), "Filter the log", "Only lines that contain the words", "Log", "Filter", 3, "", LOG_ONLY
    ),
    Action("log_follow", ("f",), "Follow the log", "Stay at the newest line", "Log", "Follow", 5, "", LOG_ONLY),
    Action(
        "log_warning",
        ("n",),
        "Next warning in the log",
        "Or error; starts over after the last one",
        "Log",
        short="Next warning",
        bar_rank=6,
        modes=LOG_ONLY,
        unavailable=_any_warning,
    ),
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
        modes=STORED,
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
    Action("theme", ("t",), "Next theme", "Dark, light, high contrast", "Console", short="Theme", bar_rank=18),
    Action("screenshot", ("f12",), "Save a screenshot", "The screen as an SVG file in this directory", "Console"),
    Action("palette", ("ctrl+p",), "Command palette", "Every action by name", "Console", short="Palette", bar_rank=19),
    Action("help", ("?",), "Help", "Keys, glyphs and words", "Console", short="Help", bar_rank=2),
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
    *(replace(action, unavailable=not_while_sweeping(action.unavailable)) for action in _ENGINE_AND_LOAD),
    *SWEEP_ACTIONS,
    *RUNS_ACTIONS,
    *COMPARE_ACTIONS,
    *REPLAY_ACTIONS,
    *_VIEW,
    *_LOG,
    *_CONSOLE,
)

BY_ID = {action.id: action for action in ACTIONS}
