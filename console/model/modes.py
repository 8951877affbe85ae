"""State of the Sweep, Runs and Compare modes and of a replay, as keys, palette and command forms need it."""

from dataclasses import dataclass, field
from enum import StrEnum

from console.model.recording import LiveRecording

MAX_COMPARED_RUNS = 4
REPLAY_SPEEDS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds of a stored run for each second of wall time."""


class SweepStage(StrEnum):
    """Stage of the sweep that this console runs."""

    NONE = "none"
    RUNNING = "running"
    PAUSED = "paused"
    """Pauses when the running cell has been measured."""
    ENDING = "ending"
    ENDED = "ended"

    @property
    def active(self) -> bool:
        """Whether the sweep uses the engine."""
        return self in {SweepStage.RUNNING, SweepStage.PAUSED, SweepStage.ENDING}


def sweep_stage(*, ended: bool, ending: bool, paused: bool) -> SweepStage:
    """Returns the stage for the flags of a sweep's snapshot; the first flag that is set decides."""
    if ended:
        return SweepStage.ENDED
    if ending:
        return SweepStage.ENDING
    return SweepStage.PAUSED if paused else SweepStage.RUNNING


def is_sweep_file(source: str) -> bool:
    """Whether the source of a sweep is the path of a specification, and not the name of a preset."""
    return "/" in source or source.endswith(".toml")


@dataclass(frozen=True, slots=True)
class ReplayState:
    """Position and speed of a stored run's replay, and the state of the live session behind it."""

    run_id: str
    position_s: float = 0.0
    length_s: float = 0.0
    speed: float = 1.0
    paused: bool = False
    live_engine: str = ""
    """State of the live engine; empty: not known."""
    live_load: bool = False
    """Whether the live load is running."""

    @property
    def ended(self) -> bool:
        return self.position_s >= self.length_s


@dataclass(frozen=True, slots=True)
class ExperimentContext:
    """Stage of the sweep and selections in the Sweep, Runs and Compare modes.

    The app owns the current value and replaces it when a screen reports a change.
    """

    sweep_stage: SweepStage = SweepStage.NONE
    sweep_source: str = ""
    """A preset's name or a file's path."""
    selected_cell_skippable: bool = False
    """Whether the cell selected in Sweep can be skipped."""
    selected_cell_run_id: str = ""
    """The run of the cell selected in Sweep; empty if the cell has no run."""
    selected_run_id: str = ""
    """The run selected in Runs."""
    compared_run_ids: tuple[str, ...] = ()
    """The runs to compare, baseline first."""
    selected_compared_run_id: str = ""
    """The run selected in Compare."""
    recording: LiveRecording = field(default_factory=LiveRecording)
    """What the recorder of Live does."""
