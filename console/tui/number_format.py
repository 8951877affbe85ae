"""Formats numbers for the screens, with units; a dash stands for a missing value."""

NONE = "–"


def count(value: float | None) -> str:
    """`1,224`; one decimal below ten."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def short(value: float) -> str:
    """`0.5`, `40`, `1.5k`, `12k`, `3.2M`: at most five cells."""
    for limit, divisor, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e3, 1e3, "k")):
        if value >= limit:
            return f"{value / divisor:.3g}{suffix}"
    return f"{value:.3g}"


def ms(value: float | None) -> str:
    """Milliseconds without the unit: two decimals below 1, one below 100, else none."""
    if value is None:
        return NONE
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def megabytes(size_bytes: float) -> str:
    """`418 MB`, `2.1 GB`."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.2f} GB"
    return f"{size_bytes / 1e6:.0f} MB"


def percent(ratio: float | None, *, sign: bool = False) -> str:
    """`+18.0 %` or `3 %`."""
    if ratio is None:
        return NONE
    return f"{ratio * 100:+.1f} %".replace("-", "−") if sign else f"{ratio * 100:.0f} %"


def clock(seconds: float) -> str:
    """`04:12`, or `1:04:12` from an hour on."""
    whole = int(max(0.0, seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes:02}:{whole % 60:02}"


def span(seconds: float) -> str:
    """A time span: `30 s`, `2 min`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def cores(busy: float) -> str:
    """CPU use as a share of one core: `164 %`."""
    return f"{busy * 100:.0f} %"


EIGHTHS = " ▏▎▍▌▋▊▉█"
"""Blocks of 0 to 8 eighths of a cell."""


def bar(share: float, width: int) -> str:
    """A horizontal bar of `width` cells, in steps of an eighth. `share`: 0 to 1."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (EIGHTHS[rest] if rest else "")).ljust(width)


DIGITS = {
    "0": ("┏━┓", "┃ ┃", "┗━┛"),
    "1": ("╺┓ ", " ┃ ", "╺┻╸"),
    "2": ("╺━┓", "┏━┛", "┗━╸"),
    "3": ("╺━┓", " ━┫", "╺━┛"),
    "4": ("╻ ╻", "┗━┫", "  ╹"),
    "5": ("┏━╸", "┗━┓", "╺━┛"),
    "6": ("┏━╸", "┣━┓", "┗━┛"),
    "7": ("╺━┓", "  ┃", "  ╹"),
    "8": ("┏━┓", "┣━┫", "┗━┛"),
    "9": ("┏━┓", "┗━┫", "╺━┛"),
    ",": (" ", " ", "╹"),
    ".": (" ", " ", "."),
    "k": ("╻  ", "┃╱ ", "╹╲ "),
    NONE: ("   ", "╺━╸", "   "),
}
"""Large digits: three rows of box-drawing characters each."""


def tall(text: str) -> tuple[str, str, str]:
    """The number in large digits, as three rows."""
    glyphs = [DIGITS.get(char, (" ", " ", char)) for char in text]
    return ("".join(g[0] for g in glyphs), "".join(g[1] for g in glyphs), "".join(g[2] for g in glyphs))
