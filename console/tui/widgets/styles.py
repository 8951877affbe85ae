"""The style of each role in a theme. Styles are cached: drawing only looks them up."""

from dataclasses import dataclass
from functools import lru_cache

from rich.style import Style
from textual.color import Color

COLOURS: dict[str, tuple[str, bool, str]] = {
    "value": ("foreground", False, ""),
    "strong": ("role-strong", True, ""),
    "label": ("role-label", False, ""),
    "muted": ("role-muted", False, ""),
    "accent": ("accent", False, ""),
    "good": ("success", False, ""),
    "warn": ("warning", False, ""),
    "bad": ("error", True, ""),
    "key": ("primary", True, ""),
    "dead": ("role-dead", False, ""),
    "series1": ("series-1", False, ""),
    "series2": ("series-2", False, ""),
    "series3": ("series-3", False, ""),
    "faint1": ("series-1-faint", False, ""),
    "faint2": ("series-2-faint", False, ""),
    "faint3": ("series-3-faint", False, ""),
    "fill": ("role-grid", False, "series-fill"),
    "fillmark": ("role-marker", False, "series-fill"),
    "grid": ("role-grid", False, ""),
    "axis": ("role-muted", False, ""),
    "marker": ("role-marker", False, ""),
    "cursor": ("background", True, "primary"),
    "banner": ("banner-foreground", True, "banner-background"),
    "alarm": ("alarm-foreground", True, "alarm-background"),
    "badge": ("background", True, "foreground"),
}
"""By role: theme variable of the colour, bold or not, theme variable of the background (empty: the tile's)."""
REVERSED = frozenset({"cursor", "badge", "banner", "alarm"})
"""Roles with a background of their own: without colours they are drawn in reverse video."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of a theme on one background. Hashable: styles are cached by it."""

    theme: str
    background: str
    colours: tuple[tuple[str, str], ...]
    no_color: bool = False


@lru_cache(maxsize=64)
def role_styles(palette: Palette) -> dict[str, Style]:
    """Returns the style of every role."""
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
    """Returns the style of a span that begins at cell (x, y) of its tile. Selection by mouse needs the position.

    `x` below 0: the text cannot be selected.
    """
    meta: dict[str, object] = {"offset": (x, y)} if x >= 0 else {}
    if action:
        meta["@click"] = action if "(" in action else f"app.perform({action!r})"
    style = role_styles(palette)[role]
    return style + Style.from_meta(meta) if meta else style
