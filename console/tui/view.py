"""The settings of the display: zoom, scale, freeze. One immutable value, owned by the app."""

from dataclasses import dataclass, replace

from console.actions.registry import DEFAULT, Registry
from console.model.load import Window

ZOOMS_S = (30.0, 60.0, 120.0, 300.0, 0.0)
"""Time span of the charts in seconds; 0: all recorded data."""
DEFAULT_ZOOM = 1
"""Index into ZOOMS_S."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """Pinned figures: the current ones are compared with them."""

    window: Window
    name: str
    """Deployment and load: `onnx·fp32 b32 c4`."""


@dataclass(frozen=True, slots=True)
class View:
    """What a screen needs to draw a frame."""

    zoom: int = DEFAULT_ZOOM
    """Index into ZOOMS_S."""
    log_y: bool = False
    until_s: float | None = None
    """The right edge of the charts in session seconds; None follows the newest interval."""
    pinned: Pinned | None = None
    maximised: str = ""
    """The maximised tile of Live; empty: none."""
    frozen: bool = False
    behind_s: float = 0.0
    """Seconds since the screen was frozen."""
    mode: str = "live"
    registry: Registry = DEFAULT
    """The actions with their keys."""

    @property
    def unzoomed(self) -> "View":
        """The part that every tile depends on: without zoom, freeze and mode."""
        return View(registry=self.registry, pinned=self.pinned)

    def key(self, action_id: str) -> str:
        """The label of the action's key."""
        return self.registry.key(action_id)

    def unfrozen(self) -> "View":
        """The same view, not frozen."""
        return replace(self, frozen=False, behind_s=0.0)

    @property
    def span_s(self) -> float:
        """Time span of the charts in seconds; 0: all recorded data."""
        return ZOOMS_S[self.zoom]

    @property
    def span_name(self) -> str:
        """`60 s`, `2 min`, or `all`."""
        if not self.span_s:
            return "all"
        return f"{self.span_s:.0f} s" if self.span_s < 120 else f"{self.span_s / 60:.0f} min"
