"""How the person looks at the session: zoom, scale, freeze. One immutable value, owned by the app."""

from dataclasses import dataclass, replace

ZOOMS_S = (30.0, 60.0, 120.0, 300.0, 0.0)
"""Time on the charts; 0 is everything the ring holds."""
DEFAULT_ZOOM = 1


@dataclass(frozen=True, slots=True)
class View:
    """What the screens need besides the frame."""

    zoom: int = DEFAULT_ZOOM
    log_y: bool = False
    frozen: bool = False
    behind_s: float = 0.0
    """How far a frozen screen is behind the session."""
    mode: str = "live"
    command: str = ""
    """What `y` copies."""

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
