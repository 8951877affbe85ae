"""A value axis with round steps. Its range changes only when the values no longer fit it."""

import math
from dataclasses import dataclass

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
HEADROOM = 1.04
"""The top of the axis is at least this multiple of the highest value."""
SHRINK_AT = 0.42
"""The axis shrinks when the highest value is below this share of its top."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from `low` to `high`. `ticks`: the labelled values."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def share(self, value: float) -> float:
        """The position of a value: 0 at the bottom, 1 at the top, clipped to this range."""
        if self.log:
            floor = math.log10(self.low)
            part = (math.log10(max(value, self.low)) - floor) / (math.log10(self.high) - floor)
        else:
            part = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, part))


def nice_step(rough: float) -> float:
    """Returns the smallest of 1, 2, 2.5, 5 × 10^k that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in STEPS if step * power >= rough * 0.999999)


def linear(peak: float, rows: int, before: Axis | None = None) -> Axis:
    """Returns an axis from 0 to a round value above `peak`, with a tick about every three rows.

    `before`: the axis of the last drawing; it is returned unchanged while it fits.
    """
    if before is not None and not before.log and peak * HEADROOM <= before.high and peak > before.high * SHRINK_AT:
        wanted = before.high
    else:
        wanted = max(peak * HEADROOM, 1e-6)
    divisions = max(1, min(6, rows // 3))
    if before is not None and wanted == before.high and len(before.ticks) == divisions + 1:
        return before
    step = nice_step(wanted / divisions)
    divisions = max(1, math.ceil(wanted / step - 1e-9))
    return Axis(0.0, step * divisions, tuple(step * n for n in range(divisions + 1)))


def logarithmic(low: float, peak: float, rows: int, before: Axis | None = None) -> Axis:
    """Returns a logarithmic axis around the values; its ends are 1, 2 or 5 times a power of ten.

    `before`: the axis of the last drawing; it is returned unchanged while it fits.
    """
    low, peak = max(low, 1e-3), max(peak, 2e-3)
    fits = before is not None and before.log and before.low <= low and peak <= before.high
    if before is not None and fits and before.low * 12 >= low and before.high <= peak * 12:
        return before
    bottom = _round_down(low * 0.9)
    top = max(_round_up(peak * 1.1), bottom * 10)
    decades = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1)
    every = [mantissa * 10.0**decade for decade in decades for mantissa in (1, 2, 5)]
    inside = [tick for tick in every if bottom * 0.999 <= tick <= top * 1.001]
    if len(inside) > max(2, rows // 2):
        inside = [tick for tick in inside if math.isclose(math.log10(tick) % 1, 0, abs_tol=1e-9)] or inside[:1]
    return Axis(bottom, top, tuple(inside), log=True)


def _round_down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(m for m in (1.0, 2.0, 5.0) if m * power <= value * 1.000001) * power


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return min(m for m in (1.0, 2.0, 5.0, 10.0) if m * power >= value * 0.999999) * power
