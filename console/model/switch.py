"""Switches on the time axis: markers, and the figures before and after."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Marker:
    """A switch, or what somebody marked by hand, on the time axis."""

    time_s: float
    ordinal: int
    """1 for S1, 2 for S2, …; marks are counted by themselves: M1, M2, …"""
    label: str
    """`torch·fp32 → onnx·fp32`, with `(eff fp32)` where it fell back; of a mark somebody's own words, or none."""
    fell_back: bool = False
    by_hand: bool = False

    @property
    def name(self) -> str:
        """`S1` of a switch, `M1` of a mark."""
        return f"{'M' if self.by_hand else 'S'}{self.ordinal}"


@dataclass(frozen=True, slots=True)
class Change:
    """before → after of one figure. `margin` is the half-width of the 95 % interval of `relative`."""

    before: float
    after: float
    relative: float | None = None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class SwitchDelta:
    """What a switch changed, from steady seconds before and after it."""

    ordinal: int
    label: str
    time_s: float
    took_s: float
    settled: bool
    """False while seconds are still being gathered after the cut-over."""
    settling_left_s: float = 0.0
    texts_per_s: Change | None = None
    p50_ms: Change | None = None
    p95_ms: Change | None = None
    p99_ms: Change | None = None
    rss_bytes: Change | None = None
    fidelity: Change | None = None
    """Mean cosine to fp32, as last measured of each."""
    errors: int = 0
    """Failed requests between the request for the switch and its release."""
    verdict: str = ""
    """`faster`, `slower`, `same`, `undecided`, or why nothing can be said (`no load`)."""
