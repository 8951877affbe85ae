"""The actions of a replay, and why what acts on an engine does not act there. Nothing here draws.

`{id}` in a sentence is that action's key.
"""

from console.actions.action import REPLAY, Action
from console.actions.cli_form import replay_command
from console.model.frame import Frame
from console.model.modes import REPLAY_SPEEDS

REPLAY_ONLY = frozenset({REPLAY})
_OF_THE_ENGINE = frozenset({"Engine", "Load"})
SLOWEST, FASTEST = REPLAY_SPEEDS[0], REPLAY_SPEEDS[-1]


def not_in_a_replay(action: Action) -> str:
    """Why this key does nothing on a replay; empty where it means nothing there anyway."""
    if action.group not in _OF_THE_ENGINE:
        return ""
    return (
        f"This is a replay: {{mode_live}} shows the live engine, where {{{action.id}}} acts; "
        "{replay_leave} goes back to Runs"
    )


def _slower(frame: Frame) -> str | None:
    at_limit = frame.replay is not None and frame.replay.speed <= SLOWEST
    return f"The replay runs at ×{SLOWEST:g} already: {{replay_faster}} makes it faster" if at_limit else None


def _faster(frame: Frame) -> str | None:
    at_limit = frame.replay is not None and frame.replay.speed >= FASTEST
    return f"The replay runs at ×{FASTEST:g} already: {{replay_slower}} makes it slower" if at_limit else None


def _pause_or_go_on(frame: Frame) -> str:
    shown = frame.replay
    if shown is not None and shown.ended:
        return "Again"
    return "Go on" if shown is not None and shown.paused else "Pause"


REPLAY_ACTIONS = (
    Action(
        "replay_pause",
        ("space",),
        "Pause or go on",
        "At its end: from the beginning",
        "Replay",
        short="Pause",
        bar_rank=4,
        modes=REPLAY_ONLY,
        label=_pause_or_go_on,
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
        "Five seconds back",
        "Of the run",
        "Replay",
        short="Seek",
        bar_rank=6,
        modes=REPLAY_ONLY,
    ),
    Action(
        "replay_on",
        ("right",),
        "Five seconds on",
        "Of the run",
        "Replay",
        bar_with="replay_back",
        modes=REPLAY_ONLY,
    ),
    Action("replay_begin", ("home",), "To the beginning", "Of the run", "Replay", modes=REPLAY_ONLY),
    Action("replay_end", ("end",), "To the end", "All that was measured", "Replay", modes=REPLAY_ONLY),
    Action(
        "replay_leave",
        ("escape",),
        "Leave the replay",
        "Back to Runs; the live engine has gone on",
        "Replay",
        short="Leave",
        bar_rank=3,
        modes=REPLAY_ONLY,
    ),
)
