"""The recording of Live loads as runs: the segments of a run, and what is being recorded now."""

from dataclasses import dataclass, field

from console.model.engine import Batching, Deployment, Notice
from console.model.load import Percentiles

MEASURED = "measured"
LIVE = "live"
"""Origins of a run: measured by a command or a sweep, or recorded from a load in Live."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a run in which neither the deployment nor a knob changed. Times start with the run's load."""

    ordinal: int
    """From 1."""
    start_s: float
    end_s: float | None = None
    """None: to the end of the run."""
    measured_from_s: float = 0.0
    """End of the warm-up of the load or of the deployment; the figures leave out what is before it."""
    requested: Deployment = field(default_factory=Deployment)
    effective: Deployment = field(default_factory=Deployment)
    batching: Batching = field(default_factory=Batching)
    epoch: int = 0
    warnings: tuple[Notice, ...] = ()
    change: str = ""
    """What began the segment, such as `coalescing off`; empty for the first one."""


@dataclass(frozen=True, slots=True)
class SegmentFigures:
    """A segment with its throughput and its certified latency; None and n = 0 if it was too short to measure."""

    segment: Segment
    is_main: bool
    """Whether the run's figures are those of this segment."""
    texts_per_s: float | None
    latency: Percentiles


@dataclass(frozen=True, slots=True)
class LiveRecording:
    """What the recorder of Live does now, as the screens show it."""

    run_id: str = ""
    """The run that is recorded, or the last one that was; empty before the first one."""
    running: bool = False
    name: str = ""
    discarded: bool = False
    """Whether the run is deleted, or will be when its load stops."""
    trouble: str = ""
    """Why the store does not take the run; empty if it does."""
    notices: int = 0
    """Number of notices so far; a new one is shown to the user."""
    notice: str = ""
