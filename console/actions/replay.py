"""The actions of a replay, and the refusal of actions on the engine while one is open.

In a sentence, `{id}` stands for the key of that action.
"""

from console.actions.action import REPLAY, Action
from console.actions.cli_form import replay_command
from console.model.frame import Frame
from console.model.modes import REPLAY_SPEEDS

REPLAY_ONLY = frozenset({REPLAY})
_OF_THE_ENGINE = frozenset({"Engine", "Load"})
SLOWEST, FASTEST = REPLAY_SPEEDS[0], REPLAY_SPEEDS[-1]


def not_in_a_replay(action: Action) -> str:
    """Returns why an action on the engine is refused in a replay; empty for other actions."""
    if action.group not in _OF_THE_ENGINE:
        return ""
    return (
        f"This is a replay: {{mode_live}} shows the live engine, where {{{action.id}}} acts; "
        "{replay_leave} returns to Runs"
    )


def _slower(frame: Frame) -> str | None:
    at_limit = frame.replay is not None and frame.replay.speed <= SLOWEST
    return f"The replay already runs at ×{SLOWEST:g}: {{replay_faster}} makes it faster" if at_limit else None


def _faster(frame: Frame) -> str | None:
    at_limit = frame.replay is not None and frame.replay.speed >= FASTEST
    return f"The replay already runs at ×{FASTEST:g}: {{replay_slower}} makes it slower" if at_limit else None


def _pause_or_resume(frame: Frame) -> str:
    shown = frame.replay
    if shown is not None and shown.ended:
        return "Restart"
    return "Resume" if shown is not None and shown.paused else "Pause"


REPLAY_ACTIONS = (
    Action(
        "replay_pause",
        ("space",),
        "Pause or resume the replay",
        "At the end: restart",
        "Replay",
        short="Pause",
        bar_rank=4,
        modes=REPLAY_ONLY,
        label=_pause_or_resume,
        cli=replay_command,
    ),
    Action(
        "replay_slower",
        ("<",),
        "Slower",
        "×60, ×30, ×20, ×10, ×5, ×2, ×1",
        "Replay",
        short="Speed",
        bar_rank=5,
        modes=REPLAY_ONLY,
        unavailable=_slower,
        cli=replay_command,
    ),
    Action(
        "replay_faster",
        (">",),
        "Faster",
        "×1, ×2, ×5, ×10, ×20, ×30, ×60",
        "Replay",
        bar_with="replay_slower",
        modes=REPLAY_ONLY,
        unavailable=_faster,
        cli=replay_command,
    ),
    Action(
        "replay_back",
        ("left",),
        "Seek 5 s back",
        "Seconds of the run",
        "Replay",
        short="Seek",
        bar_rank=6,
        modes=REPLAY_ONLY,
    ),
    Action(
        "replay_on",
        ("right",),
        "Seek 5 s forward",
        "Seconds of the run",
        "Replay",
        bar_with="replay_back",
        modes=REPLAY_ONLY,
    ),
    Action("replay_begin", ("home",), "Go to the start", "Start of the load", "Replay", modes=REPLAY_ONLY),
    Action("replay_end", ("end",), "Go to the end", "End of the load", "Replay", modes=REPLAY_ONLY),
    Action(
        "replay_leave",
        ("escape",),
        "Leave the replay",
        "Return to Runs; the engine has kept running",
        "Replay",
        short="Leave",
        bar_rank=3,
        modes=REPLAY_ONLY,
    ),
)
