"""The actions on the engine and its load. In a sentence, `{id}` stands for the key of that action."""

from console.actions.action import LIVE, MODES, Action
from console.actions.cli_form import run_command, serve_command
from console.model.engine import EngineState
from console.model.frame import Frame

MAX_BATCH = 1024
MAX_CONCURRENCY = 1024
MAX_RATE = 100_000


def _engine_own(frame: Frame) -> str | None:
    if frame.engine.remote:
        return f"The engine at {frame.engine.address} was not started by this console: stop it where it was started"
    if frame.engine.state is EngineState.DRAINING:
        return "The engine is finishing its last requests: wait until it has stopped"
    return None


def _engine_restart(frame: Frame) -> str | None:
    if frame.engine.state is EngineState.STOPPED and not frame.engine.remote:
        return "The engine is not running: {engine} starts it"
    return _engine_own(frame)


def _engine_serving(frame: Frame) -> str | None:
    match frame.engine.state:
        case EngineState.RUNNING | EngineState.SWITCHING:
            return None
        case EngineState.STARTING:
            return "The engine is still starting: wait until it serves"
        case EngineState.DRAINING:
            return "The engine is stopping: {engine} starts it again when it has stopped"
        case EngineState.LOST if frame.engine.remote:
            return f"No engine answers at {frame.engine.address}: start one there; this console tries every second"
        case EngineState.LOST:
            return "The engine is lost: {restart} restarts it"
        case EngineState.STOPPED:
            return "The engine is stopped: {engine} starts it"


def _switch(frame: Frame) -> str | None:
    if frame.engine.state is EngineState.SWITCHING:
        return "A switch is in progress: wait for it, or cancel it with {cancel_switch}"
    if reason := _engine_serving(frame):
        return reason
    return None if frame.capabilities else "The engine has not sent its capability matrix yet: try again in a second"


def _cancel_switch(frame: Frame) -> str | None:
    return (
        None
        if frame.engine.state is EngineState.SWITCHING
        else "No switch is in progress: {backend} or {precision} starts one"
    )


def _load_switch(frame: Frame) -> str | None:
    return None if frame.load.running else _engine_serving(frame)


def _batch_down(frame: Frame) -> str | None:
    return None if frame.load.spec.batch > 1 else "The batch size is already 1: {batch_up} doubles it"


def _batch_up(frame: Frame) -> str | None:
    return (
        None if frame.load.spec.batch < MAX_BATCH else f"The batch size is at {MAX_BATCH:,}: {{batch_down}} halves it"
    )


def _concurrency_down(frame: Frame) -> str | None:
    return None if frame.load.spec.concurrency > 1 else "The concurrency is already 1: {concurrency_up} doubles it"


def _concurrency_up(frame: Frame) -> str | None:
    at_limit = frame.load.spec.concurrency >= MAX_CONCURRENCY
    return f"The concurrency is at {MAX_CONCURRENCY:,}: {{concurrency_down}} halves it" if at_limit else None


def _open_loop(frame: Frame) -> str | None:
    if frame.load.spec.is_open or frame.window.requests_per_s is not None:
        return None
    return "No rate is known yet: {load} sets one, or {load_toggle} starts a closed loop that measures one"


def _start_stop(frame: Frame) -> str:
    return "Start engine" if frame.engine.state in {EngineState.STOPPED, EngineState.LOST} else "Stop engine"


def _load_start_stop(frame: Frame) -> str:
    return "Stop load" if frame.load.running else "Start load"


LIVE_ONLY = frozenset({LIVE})

ENGINE_ACTIONS = (
    Action(
        "engine",
        ("s",),
        "Start or stop the engine",
        "Start the engine, or stop it after its last request",
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
        "Stop the engine and start it as requested; also if it was lost",
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
        "Choose a deployment in the capability matrix; the load continues",
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
        "Choose a precision of the current backend",
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
        "Before the cut-over; the old deployment keeps serving",
        "Engine",
        short="Cancel switch",
        bar_rank=15,
        modes=LIVE_ONLY,
        unavailable=_cancel_switch,
    ),
    Action(
        "coalesce",
        ("c",),
        "Toggle coalescing",
        "Batch several requests together, or run each request alone",
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
        "Instances, threads, token budget, texts per batch, wait; auto uses measured values",
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
        "Use the current load settings",
        "Load",
        short="Start/stop load",
        bar_rank=12,
        modes=LIVE_ONLY,
        unavailable=_load_switch,
        cli=run_command,
        label=_load_start_stop,
    ),
    Action(
        "open_loop",
        ("o",),
        "Toggle open and closed loop",
        "Open loop: sends on a schedule, at 80 % of the closed loop's rate",
        "Load",
        short="Open loop",
        bar_rank=18,
        modes=LIVE_ONLY,
        unavailable=_open_loop,
        cli=run_command,
    ),
    Action(
        "batch_down",
        ("[",),
        "Halve the batch size",
        "Texts per request",
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
        "Texts per request",
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
