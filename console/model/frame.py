"""What the screens draw: one immutable snapshot of the session, and the words it is made of.

Times named `*_s` without further words are seconds on the session's monotonic clock, starting at 0 with the session.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from console.model.engine import CapabilityCell, Engine
from console.model.load import Load, Point, Window
from console.model.modes import ExperimentContext, Replaying
from console.model.switch import Marker, SwitchDelta


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log: from the engine, the load driver or the console itself."""

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
    """Everything a screen needs, at one moment."""

    now_s: float = 0.0
    engine: Engine = field(default_factory=Engine)
    load: Load = field(default_factory=Load)
    window: Window = field(default_factory=Window)
    points: Sequence[Point] = ()
    """Oldest first, at most the ring's length (10 minutes at one interval a second)."""
    points_version: int = 0
    """Grows with every new interval: charts redraw only then."""
    markers: tuple[Marker, ...] = ()
    deltas: tuple[SwitchDelta, ...] = ()
    """Newest last."""
    capabilities: tuple[CapabilityCell, ...] = ()
    log: Sequence[LogLine] = ()
    """Newest last, bounded."""
    log_version: int = 0
    console_cpu: float = 0.0
    """Share of one core used by the console's own process over the last seconds."""
    dropped_frames: int = 0
    """Engine frames that came later than twice their interval, or intervals lost."""
    experiments: ExperimentContext = field(default_factory=ExperimentContext)
    replay: Replaying | None = None
    """Set: this is no live engine, but a stored run."""
