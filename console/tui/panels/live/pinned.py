"""The change of each figure from the pinned one in percent."""

from collections.abc import Callable

from console.model.load import P95_FLOOR, P99_FLOOR, Window
from console.tui.styled_text import Line, Span, clean, joined, line
from console.tui.view import Pinned

NOISE = 0.03
"""Relative change below which no colour is used: windows of a few seconds differ as much by chance (a rule)."""
FIGURES: tuple[tuple[str, Callable[[Window], float | None], int, bool], ...] = (
    ("thr", lambda window: window.texts_per_s, 0, True),
    ("p50", lambda window: window.latency.p50_ms, 1, False),
    ("p95", lambda window: window.latency.p95_ms, P95_FLOOR, False),
    ("p99", lambda window: window.latency.p99_ms, P99_FLOOR, False),
)
"""Name, figure, the sample size that it needs, and whether more is better."""


def change(name: str, window: Window, pinned: Pinned) -> Line:
    """`+55 %`; dim and with `~` if either side has too few requests for the figure."""
    _, figure, floor, more_is_better = next(one for one in FIGURES if one[0] == name)
    now, then = figure(window), figure(pinned.window)
    if now is None or not then:
        return line(Span("–", "muted"))
    relative = now / then - 1
    text = f"{relative * 100:+.0f} %".replace("-", "−")
    if min(window.latency.n, pinned.window.latency.n) < floor:
        return line(Span(f"~{text}", "muted"))
    if abs(relative) < NOISE:
        return line(Span(text, "value"))
    return line(Span(text, "good" if (relative > 0) == more_is_better else "bad"))


def changes(window: Window, pinned: Pinned) -> Line:
    """The changes of all figures in one line."""
    parts = [line(Span(f"{name} ", "label"), *change(name, window, pinned)) for name, _, _, _ in FIGURES]
    return line(Span("pin  ", "marker"), *joined(parts, Span("  ")))


def title(pinned: Pinned) -> str:
    """The deployment and load of the pinned figures."""
    return f"vs {clean(pinned.name)}"
