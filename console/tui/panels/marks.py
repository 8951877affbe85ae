"""Marks of verdicts and grades: a glyph and a word beside the colour."""

from console.model.engine import Deployment
from console.tui.number_format import NONE
from console.tui.styled_text import Line, Span, clean, line

VERDICTS: dict[str, tuple[str, str, str]] = {
    "ok": ("✓", "ok", "good"),
    "too_short": ("~", "too short", "warn"),
    "unstable": ("~", "unstable", "warn"),
    "errors": ("✗", "errors", "bad"),
    "client_bound": ("!", "client bound", "warn"),
    "failed": ("✗", "failed", "bad"),
    "unfinished": ("…", "unfinished", "muted"),
    "running": ("▶", "running", "accent"),
}
"""Glyph, word and role by verdict."""
GREEN, AMBER = 0.995, 0.98
"""Mean cosine to fp32 from which fidelity is green or amber."""


def verdict(name: str, *, interrupted: bool = False, slo_missed: bool = False, word: bool = True) -> Line:
    """`✓ ok`, `~ unstable`, `✓ ok, SLO missed`."""
    glyph, name_shown, role = VERDICTS.get(name, ("?", name, "warn"))
    if not word:
        return line(Span(glyph, role))
    missed = Span(", SLO missed" if slo_missed and name == "ok" else "", "warn")
    return line(Span(f"{glyph} {name_shown}", role), missed, Span(", interrupted" if interrupted else "", "muted"))


def with_stability(text: str, stable: object, width: int) -> Line:
    """A figure aligned right in `width` cells, followed by `~` if it was not stable. `stable`: None: not judged."""
    unstable = stable is not None and not stable and text != NONE
    return line(Span(text.rjust(width - 1), "value" if unstable else "strong"), Span("~" if unstable else " ", "warn"))


def cosine(value: float | None) -> Line:
    """`◐ .9931`: a mean cosine with the glyph of its grade: green ●, amber ◐, red ○."""
    if value is None:
        return line(Span(NONE, "muted"))
    glyph, role = ("●", "good") if value >= GREEN else ("◐", "warn") if value >= AMBER else ("○", "bad")
    text = f"{value:.4f}".removeprefix("0") if value < 1 else "1.000"
    return line(Span(f"{glyph} ", role), Span(text, "value"))


def cell(requested: Deployment, effective: Deployment) -> Line:
    """The effective deployment; after a fallback, `⚠ requested → effective`."""
    wanted, actual = clean(requested.cell), clean(effective.cell)
    if not actual:
        return line(Span(wanted or NONE, "muted"))
    if requested.cell and (requested.backend, requested.precision) != (effective.backend, effective.precision):
        return line(Span("⚠ ", "warn"), Span(f"{wanted} → "), Span(actual, "strong"))
    return line(Span(actual, "value"))
