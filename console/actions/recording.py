"""The action on the run that is recorded from Live."""

from console.actions.action import LIVE, Action
from console.model.frame import Frame


def _live_run(frame: Frame) -> str | None:
    recording = frame.experiments.recording
    if not recording.run_id:
        return "No load was recorded yet: {load_toggle} starts one"
    if recording.discarded and not recording.running:
        return f"{recording.run_id} was discarded: {{load_toggle}} records another run"
    return None


RECORDING_ACTIONS = (
    Action(
        "live_run",
        ("n",),
        "Name, keep or discard the recorded run",
        "Every load is recorded as a run; this is about the current or last one",
        "Load",
        modes=frozenset({LIVE}),
        unavailable=_live_run,
    ),
)
