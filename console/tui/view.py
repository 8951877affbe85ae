"""How the person looks at the session: zoom, scale, freeze. One immutable value, owned by the app."""

from dataclasses import dataclass, replace

from console.actions.registry import DEFAULT, Registry
from console.model.load import Window

ZOOMS_S = (30.0, 60.0, 120.0, 300.0, 0.0)
"""Time on the charts; 0 is everything the ring holds."""
DEFAULT_ZOOM = 1


@dataclass(frozen=True, slots=True)
class Pinned:
    """The figures that somebody pinned, to compare the present ones with."""

    window: Window
    name: str
    """What ran: `onnx·fp32 b32 c4`."""


@dataclass(frozen=True, slots=True)
class View:
    """What the screens need besides the frame."""

    zoom: int = DEFAULT_ZOOM
    log_y: bool = False
    until_s: float | None = None
    """Where the charts end, in session seconds; None follows the newest interval."""
    pinned: Pinned | None = None
    big: str = ""
    """The tile of Live that has the screen to itself; empty: none."""
    frozen: bool = False
    behind_s: float = 0.0
    """How far a frozen screen is behind the session."""
    mode: str = "live"
    registry: Registry = DEFAULT
    """The actions with the keys in force."""

    @property
    def still(self) -> "View":
        """What also those tiles depend on that follow neither zoom, freeze nor mode."""
        return View(registry=self.registry, pinned=self.pinned)

    def key(self, action_id: str) -> str:
        """The action's key as a person reads it."""
        return self.registry.key(action_id)

    def thawed(self) -> "View":
        """Not frozen."""
        return replace(self, frozen=False, behind_s=0.0)

    @property
    def span_s(self) -> float:
        """Seconds on the charts; 0 for all."""
        return ZOOMS_S[self.zoom]

    @property
    def span_name(self) -> str:
        """`60 s`, `all`."""
        if not self.span_s:
            return "all"
        return f"{self.span_s:.0f} s" if self.span_s < 120 else f"{self.span_s / 60:.0f} min"
