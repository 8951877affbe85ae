"""The actions on the view of the session, and on the log."""

from console.actions.action import LIVE, LOG, REPLAY, SWEEP, Action
from console.actions.cli_form import capabilities_command
from console.model.frame import Frame

LIVE_ONLY = frozenset({LIVE})
LIKE_LIVE = frozenset({LIVE, REPLAY})
LOG_ONLY = frozenset({LOG})
WITH_CHARTS = frozenset({LIVE, SWEEP, REPLAY})


def _details(frame: Frame) -> str | None:
    engine = frame.engine
    if engine.warnings or engine.evidence or engine.effective.backend:
        return None
    return "Nothing is served yet: there are no details"


def _pin(frame: Frame) -> str | None:
    if frame.window.texts_per_s is not None:
        return None
    if frame.replay is not None:
        return "This moment of the run has no figures to pin: {replay_on} seeks to a later one"
    return "There are no figures to pin yet: {load_toggle} starts the load"


def _pan(frame: Frame) -> str | None:
    return None if frame.points else "The charts are empty: {load_toggle} starts the load"


def _any_warning(frame: Frame) -> str | None:
    if any(entry.level in {"warning", "error"} for entry in frame.log):
        return None
    return "There is no warning in the log"


VIEW_ACTIONS = (
    Action(
        "freeze",
        ("space",),
        "Freeze or unfreeze the screen",
        "Stops drawing; measuring continues",
        "View",
        short="Freeze",
        bar_rank=8,
        modes=frozenset({LIVE, LOG}),
    ),
    Action(
        "zoom_in",
        ("+", "="),
        "Zoom in",
        "Shorter time range of the charts: 30 s, 60 s, 2 min, 5 min, all",
        "View",
        bar_with="zoom_out",
        modes=WITH_CHARTS,
    ),
    Action(
        "zoom_out",
        ("-",),
        "Zoom out",
        "Longer time range of the charts",
        "View",
        short="Zoom",
        bar_rank=9,
        modes=WITH_CHARTS,
    ),
    Action("zoom_reset", ("0",), "Zoom to 60 s", "The default time range, up to now", "View", modes=WITH_CHARTS),
    Action(
        "pan_left",
        ("left",),
        "Pan back",
        "By half of the time range; the figures stay live",
        "View",
        short="Pan",
        bar_rank=22,
        modes=LIVE_ONLY,
        unavailable=_pan,
    ),
    Action(
        "pan_right",
        ("right",),
        "Pan forward",
        "At the end, follow the newest interval again",
        "View",
        bar_with="pan_left",
        modes=LIVE_ONLY,
        unavailable=_pan,
    ),
    Action(
        "mark",
        ("m",),
        "Mark this moment",
        "Add a marker to every chart and the log, with an optional label",
        "View",
        short="Mark",
        bar_rank=13,
        modes=LIVE_ONLY,
    ),
    Action(
        "pin",
        ("w",),
        "Pin or unpin the figures",
        "Show changes relative to the pinned figures",
        "View",
        short="Pin",
        bar_rank=16,
        modes=LIKE_LIVE,
        unavailable=_pin,
    ),
    Action(
        "maximise",
        ("z",),
        "Maximise or restore a tile",
        "Also a tile that this terminal has no room for",
        "View",
        short="Maximise",
        bar_rank=17,
        modes=LIKE_LIVE,
    ),
    Action(
        "log_y",
        ("v",),
        "Toggle log scale of latency",
        "Logarithmic or linear y axis",
        "View",
        short="Log-y",
        bar_rank=20,
        modes=LIKE_LIVE,
    ),
    Action(
        "details",
        ("i",),
        "Details of the warnings",
        "Every warning with its reason, fix and evidence",
        "View",
        short="Details",
        bar_rank=21,
        modes=LIKE_LIVE,
        unavailable=_details,
        cli=capabilities_command,
    ),
)
LOG_ACTIONS = (
    Action(
        "log_filter", ("/",), "Filter the log", "Keep lines that contain the words", "Log", "Filter", 3, "", LOG_ONLY
    ),
    Action("log_follow", ("f",), "Follow the log", "Stay at the newest line", "Log", "Follow", 5, "", LOG_ONLY),
    Action(
        "log_warning",
        ("n",),
        "Next warning in the log",
        "Or error; wraps around after the last one",
        "Log",
        short="Next warning",
        bar_rank=6,
        modes=LOG_ONLY,
        unavailable=_any_warning,
    ),
)
