"""Parsing and formatting of durations."""


def duration(seconds: float) -> str:
    """Formats seconds for display: `40 s`, `3 min`, `1 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


MAX_DURATION_S = 2 * 3600.0
"""Limit of one measurement, because its intervals are kept in memory."""

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration_s(text: str) -> float:
    """Parses `10s`, `1.5m`, `500ms` or plain seconds. Raises ValueError, whose message has examples."""
    written = text.strip().lower()
    unit = next((unit for unit in _UNITS_S if written.endswith(unit)), "")
    try:
        return float(written.removesuffix(unit)) * _UNITS_S.get(unit, 1.0)
    except ValueError:
        raise ValueError(f"{text!r} is not a duration: write for example 10s, 500ms or 2m") from None
