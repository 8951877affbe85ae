"""Brings the state of the recorder of Live into the experiment context, and shows its notices."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from console.model.modes import ExperimentContext

if TYPE_CHECKING:
    from console.services.ports import ExperimentsPort


def with_recording(
    context: ExperimentContext, port: "ExperimentsPort | None", show: Callable[..., None]
) -> ExperimentContext:
    """Returns the context with the recorder's newest state. `show` is called with a notice that is new."""
    before = context.recording
    recording = port.live.state if port is not None else before
    if recording.notices > before.notices:
        show(recording.notice, severity="warning" if recording.trouble else "information")
    return context if recording is before else replace(context, recording=recording)
