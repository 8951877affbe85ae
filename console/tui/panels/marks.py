"""Verdict marks: a glyph, a word and a role for how far a figure can be trusted. Never colour alone."""

from console.model.engine import Deployment
from console.tui.number_format import NONE
from console.tui.styled_text import Line, Span, clean, line

VERDICTS = {
    "ok": ("✓", "ok", "good"),
    "too_short": ("~", "too short", "warn"),
    "unstable": ("~", "unstable", "warn"),
    "errors": ("✗", "errors", "bad"),
    "client_bound": ("!", "client bound", "warn"),
    "failed": ("✗", "failed", "bad"),
    "unfinished": ("…", "unfinished", "muted"),
    "running": ("▶", "running", "accent"),
}
GREEN, AMBER = 0.995, 0.98
"""Mean cosine to fp32 from which fidelity is green or amber by default."""


def verdict(name: str, *, interrupted: bool = False, slo_missed: bool = False, word: bool = True) -> Line:
    """`✓ ok`, `~ unstable`, `✓ ok, SLO missed`."""
    glyph, said, role = VERDICTS.get(name, ("?", name, "warn"))
    if not word:
        return line(Span(glyph, role))
    missed = Span(", SLO missed" if slo_missed and name == "ok" else "", "warn")
    return line(Span(f"{glyph} {said}", role), missed, Span(", interrupted" if interrupted else "", "muted"))


def steadied(text: str, stable: object, width: int) -> Line:
    """A figure at the right edge of `width` cells, with `~` behind it where it was not steady."""
    shaky = stable is not None and not stable and text != NONE
    return line(Span(text.rjust(width - 1), "value" if shaky else "strong"), Span("~" if shaky else " ", "warn"))


def cosine(value: float | None) -> Line:
    """`.9931` with the letter of its grade: green ●, amber ◐, red ○."""
    if value is None:
        return line(Span(NONE, "muted"))
    glyph, role = ("●", "good") if value >= GREEN else ("◐", "warn") if value >= AMBER else ("○", "bad")
    text = f"{value:.4f}".removeprefix("0") if value < 1 else "1.000"
    return line(Span(f"{glyph} ", role), Span(text, "value"))


def cell(requested: Deployment, effective: Deployment) -> Line:
    """What ran; where that is not what was asked for, both and a warning sign."""
    asked, ran = clean(requested.cell), clean(effective.cell)
    if not ran:
        return line(Span(asked or NONE, "muted"))
    if requested.cell and (requested.backend, requested.precision) != (effective.backend, effective.precision):
        return line(Span("⚠ ", "warn"), Span(f"{asked} → "), Span(ran, "strong"))
    return line(Span(ran, "value"))
