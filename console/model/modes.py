"""Where the experiment modes stand: what keys, palette and command forms need to know of Sweep, Runs and Compare."""

from dataclasses import dataclass
from enum import StrEnum

MOST_COMPARED = 4
SPEEDS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Of a replay: seconds of a run in one of the person's."""


class SweepStage(StrEnum):
    """Of the sweep that this console runs."""

    NONE = "none"
    RUNNING = "running"
    PAUSED = "paused"
    """After the running cell."""
    ENDING = "ending"
    ENDED = "ended"

    @property
    def active(self) -> bool:
        """Whether it has the engine."""
        return self in {SweepStage.RUNNING, SweepStage.PAUSED, SweepStage.ENDING}


def stage_of(*, ended: bool, ending: bool, paused: bool) -> SweepStage:
    """By what its snapshot says; the first that applies."""
    if ended:
        return SweepStage.ENDED
    if ending:
        return SweepStage.ENDING
    return SweepStage.PAUSED if paused else SweepStage.RUNNING


def is_sweep_file(source: str) -> bool:
    """Whether the source of a sweep is the path of a specification, and not the name of a preset."""
    return "/" in source or source.endswith(".toml")


@dataclass(frozen=True, slots=True)
class Replaying:
    """A stored run is on the screen, not the engine: which one, where in it, and what goes on meanwhile."""

    run_id: str
    position_s: float = 0.0
    length_s: float = 0.0
    speed: float = 1.0
    paused: bool = False
    live_engine: str = ""
    """The live engine's state; empty: not known."""
    live_load: bool = False
    """The live load is on."""

    @property
    def ended(self) -> bool:
        return self.position_s >= self.length_s


@dataclass(frozen=True, slots=True)
class ExperimentContext:
    """One immutable value, owned by the app; the screens tell it where their cursors are."""

    sweep: SweepStage = SweepStage.NONE
    sweep_source: str = ""
    """The preset's name, or the file's path."""
    cell_waits: bool = False
    """The cell under the cursor can be skipped."""
    cell_run: str = ""
    """The run of the cell under the cursor; empty where it has none."""
    run_id: str = ""
    """The run under the cursor in Runs."""
    compared: tuple[str, ...] = ()
    """Runs to compare, the baseline first."""
    compared_at: str = ""
    """The run under the cursor in Compare."""
