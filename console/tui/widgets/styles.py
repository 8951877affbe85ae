"""Which colour and weight each role of ink has in a theme. Styles are made once; drawing looks them up."""

from dataclasses import dataclass
from functools import lru_cache

from rich.style import Style
from textual.color import Color

COLOURS: dict[str, tuple[str, bool, str]] = {
    "value": ("foreground", False, ""),
    "strong": ("ink-strong", True, ""),
    "label": ("ink-label", False, ""),
    "muted": ("ink-muted", False, ""),
    "accent": ("accent", False, ""),
    "good": ("success", False, ""),
    "warn": ("warning", False, ""),
    "bad": ("error", True, ""),
    "key": ("primary", True, ""),
    "dead": ("ink-dead", False, ""),
    "series1": ("series-1", False, ""),
    "series2": ("series-2", False, ""),
    "series3": ("series-3", False, ""),
    "faint1": ("series-1-faint", False, ""),
    "faint2": ("series-2-faint", False, ""),
    "faint3": ("series-3-faint", False, ""),
    "fill": ("ink-grid", False, "series-fill"),
    "fillmark": ("ink-marker", False, "series-fill"),
    "grid": ("ink-grid", False, ""),
    "axis": ("ink-muted", False, ""),
    "marker": ("ink-marker", False, ""),
    "cursor": ("background", True, "primary"),
    "banner": ("banner-foreground", True, "banner-background"),
    "alarm": ("alarm-foreground", True, "alarm-background"),
    "badge": ("background", True, "foreground"),
}
"""For each role: a theme variable, whether it is bold, and a background variable where it has one of its own."""
REVERSED = frozenset({"cursor", "badge", "banner", "alarm"})
"""What stands out by its background stands out by reverse video where there are no colours."""


@dataclass(frozen=True, slots=True)
class Palette:
    """A theme's colours on one background. Hashable, so that styles can be kept by it."""

    theme: str
    background: str
    colours: tuple[tuple[str, str], ...]
    no_color: bool = False


@lru_cache(maxsize=64)
def role_styles(palette: Palette) -> dict[str, Style]:
    """The style of every role."""
    variables = dict(palette.colours)
    styles = {}
    for role, (colour, bold, background) in COLOURS.items():
        reverse = palette.no_color and role in REVERSED
        styles[role] = Style(
            color=None if palette.no_color else Color.parse(variables[colour]).rich_color,
            bgcolor=None
            if palette.no_color
            else Color.parse(variables[background] if background else palette.background).rich_color,
            bold=bold,
            reverse=reverse,
            dim=palette.no_color and role in {"dead", "grid", "faint1", "faint2", "faint3"},
        )
    return styles


@lru_cache(maxsize=32768)
def style_at(palette: Palette, role: str, action: str, x: int, y: int) -> Style:
    """The style of a span that begins at (x, y) in its tile: the place is what selecting by mouse needs.

    `x` below 0: it cannot be selected.
    """
    meta: dict[str, object] = {"offset": (x, y)} if x >= 0 else {}
    if action:
        meta["@click"] = action if "(" in action else f"app.perform({action!r})"
    style = role_styles(palette)[role]
    return style + Style.from_meta(meta) if meta else style
