"""The frame: one immutable snapshot of the session, which the screens draw.

Times are seconds on the session's monotonic clock, which is 0 when the session is created.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from console.model.engine import CapabilityCell, Engine
from console.model.load import Load, Point, Window
from console.model.modes import ExperimentContext, ReplayState
from console.model.switch import Marker, SwitchDelta


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the log, from the engine, the load generator or the console."""

    sequence: int
    wall_time: str
    """HH:MM:SS"""
    source: str
    """`engine`, `driver`, `console`"""
    level: str
    """`debug`, `info`, `warning`, `error`, `event`"""
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A snapshot of the session with everything that a screen draws."""

    now_s: float = 0.0
    engine: Engine = field(default_factory=Engine)
    load: Load = field(default_factory=Load)
    window: Window = field(default_factory=Window)
    points: Sequence[Point] = ()
    """Oldest first; the last 10 minutes, one point a second."""
    points_version: int = 0
    """Increases with every new point; charts redraw only then."""
    markers: tuple[Marker, ...] = ()
    deltas: tuple[SwitchDelta, ...] = ()
    """Newest last."""
    capabilities: tuple[CapabilityCell, ...] = ()
    log: Sequence[LogLine] = ()
    """Newest last; the length is bounded."""
    log_version: int = 0
    console_cpu: float = 0.0
    """Share of one core that the console's process used over the last second."""
    dropped_frames: int = 0
    """The number of engine frames that arrived later than twice their interval."""
    experiments: ExperimentContext = field(default_factory=ExperimentContext)
    replay: ReplayState | None = None
    """Set if the frame shows a stored run instead of the live session."""
