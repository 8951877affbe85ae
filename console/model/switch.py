"""Switches on the time axis: markers, and metrics before and after."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Marker:
    """A switch, or a mark that the user set, on the time axis."""

    time_s: float
    ordinal: int
    """Number of the switch or the mark, from 1. Switches and marks are counted separately: S1, S2, M1, …"""
    label: str
    """Of a switch: `torch·fp32 → onnx·fp32`, `(eff fp32)` added after a fallback. Of a mark: its text, or empty."""
    fell_back: bool = False
    by_hand: bool = False

    @property
    def name(self) -> str:
        """`S1` for a switch, `M1` for a mark."""
        return f"{'M' if self.by_hand else 'S'}{self.ordinal}"


@dataclass(frozen=True, slots=True)
class Change:
    """One metric before and after a switch. `margin` is the half-width of the 95 % interval of `relative`."""

    before: float
    after: float
    relative: float | None = None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class SwitchDelta:
    """The effect of a switch, from steady seconds before and after it."""

    ordinal: int
    label: str
    time_s: float
    took_s: float
    settled: bool
    """False while the seconds after the cut-over are still being collected."""
    settling_left_s: float = 0.0
    texts_per_s: Change | None = None
    p50_ms: Change | None = None
    p95_ms: Change | None = None
    p99_ms: Change | None = None
    rss_bytes: Change | None = None
    fidelity: Change | None = None
    """Mean cosine to fp32, as last measured for each deployment."""
    errors: int = 0
    """Failed requests from the request for the switch to the release of the old deployment."""
    verdict: str = ""
    """`faster`, `slower`, `same`, `undecided`, or why there is no verdict, such as `no load`."""
