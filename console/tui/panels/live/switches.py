"""The Switch panel: figures before and after the newest switch with their uncertainty, and a one-line form."""

from typing import TYPE_CHECKING

from textual.geometry import Size

from console.model.frame import Frame
from console.model.switch import Change, SwitchDelta
from console.tui import number_format
from console.tui.panels.header import modes
from console.tui.styled_text import BLANK, Line, Span, StyledText, clean, clip, joined, line, spread, wrap
from console.tui.view import View

if TYPE_CHECKING:
    from collections.abc import Callable

VERDICTS = {
    "faster": ("▲", "faster", "good"),
    "slower": ("▼", "slower", "bad"),
    "same": ("=", "same", "value"),
    "undecided": ("?", "inconclusive", "warn"),
}
"""Glyph, word and role by verdict."""


def switches(frame: Frame, view: View, size: Size) -> StyledText:
    """The newest switch in full, older ones in one line each while there is room."""
    if not frame.deltas:
        words = view.registry.with_keys(
            "No switch yet: {backend} or {precision} opens the matrix. Results appear here."
        )
        if frame.replay is not None:
            words = "No switch in this run so far." if frame.markers else "No switch in this run."
        hint = wrap(words, size.width, "muted")
        return StyledText(tuple(hint[: size.height]), "switch · before → after")
    newest = frame.deltas[-1]
    rows = [line(Span(clean(newest.label), "strong"), Span(f"  in {newest.took_s:.2f} s", "muted"))]
    rows += effect(newest)
    rows.append(outcome(newest))
    older = frame.deltas[-2::-1]
    if older and size.height - len(rows) >= 2:
        rows.append(line())
        rows += [clip(_short(delta), size.width) for delta in older]
    title = f"switch S{newest.ordinal} · before → after"
    return StyledText(tuple(clip(row, size.width) for row in rows[: size.height]), title)


def bottom_line(frame: Frame, view: View, size: Size) -> StyledText:
    """The newest switch and the CPU use of the console in one line; the modes in a second line if there is room."""
    cost = line(Span("UI ", "label"), Span(f"{number_format.cores(frame.console_cpu)} cpu", "value"), *_dropped(frame))
    left = _short(frame.deltas[-1]) if frame.deltas else line(Span(_no_switch(frame), "muted"))
    rows = [spread(line(" ", *left), line(*cost, " "), size.width)]
    if size.height > 1:
        ring = line(Span("10 Hz · ring 10 min ", "muted"))
        rows.append(spread(modes(view), ring, size.width))
    return StyledText(tuple(rows))


def _no_switch(frame: Frame) -> str:
    if frame.replay is None:
        return "no switch yet"
    return f"{len(frame.markers)} switches in this run" if frame.markers else "no switch in this run"


def _dropped(frame: Frame) -> Line:
    if not frame.dropped_frames:
        return BLANK
    return line(Span(f" · {frame.dropped_frames:,} dropped", "warn"))


def change(delta: Change | None, *, more_is_better: bool) -> Line:
    """`+18.0 % ±1.1`, coloured only if the interval excludes zero."""
    if delta is None or delta.relative is None:
        return line(Span("–", "muted"))
    certain = delta.margin is not None and abs(delta.relative) > delta.margin
    role = "value"
    if certain:
        role = "good" if (delta.relative > 0) == more_is_better else "bad"
    margin = f" ±{delta.margin * 100:.1f}" if delta.margin is not None else ""
    return line(Span(number_format.percent(delta.relative, sign=True), role), Span(margin, "muted"))


def effect(delta: SwitchDelta) -> list[Line]:
    """One line for each known figure: before → after, and the change with its uncertainty."""
    rows: list[tuple[str, Change | None, bool, Callable[[float], str]]] = [
        ("texts/s", delta.texts_per_s, True, number_format.count),
        ("p50 ms", delta.p50_ms, False, number_format.ms),
        ("p95 ms", delta.p95_ms, False, number_format.ms),
        ("p99 ms", delta.p99_ms, False, number_format.ms),
        ("RSS MB", delta.rss_bytes, False, lambda size_bytes: f"{size_bytes / 1e6:,.0f}"),
        ("cosine", delta.fidelity, True, lambda cosine: f"{cosine:.4f}"),
    ]
    return [
        line(
            *(Span(f"{name:<8}", "label"), Span(f"{write(moved.before):>7}"), Span(" → ", "muted")),
            *(Span(f"{write(moved.after):>7}  ", "strong"), *change(moved, more_is_better=better)),
        )
        for name, moved, better, write in rows
        if moved is not None
    ]


def outcome(delta: SwitchDelta) -> Line:
    """The verdict, or the time until it settles, and the number of failed requests."""
    failed = Span(f"{delta.errors} failed", "bad" if delta.errors else "good")
    if not delta.settled:
        return line(Span(f"◌ settling, {delta.settling_left_s:.0f} s left", "accent"), Span(" · "), failed)
    mark, word, role = VERDICTS.get(delta.verdict, ("·", clean(delta.verdict) or "no verdict", "muted"))
    return line(Span(f"{mark} {word}", role), Span(" · ", "muted"), failed)


def _short(delta: SwitchDelta) -> Line:
    head = line(Span(f"S{delta.ordinal} ", "marker"), Span(clean(delta.label)))
    if not delta.settled:
        return line(*head, Span(f"  settling {delta.settling_left_s:.0f} s", "accent"))
    parts = [head]
    if delta.texts_per_s is not None:
        parts.append(line(*change(delta.texts_per_s, more_is_better=True), Span(" thr", "muted")))
    if delta.p99_ms is not None:
        parts.append(line(Span("p99 ", "muted"), *change(delta.p99_ms, more_is_better=False)))
    elif delta.p95_ms is not None:
        parts.append(line(Span("p95 ", "muted"), *change(delta.p95_ms, more_is_better=False)))
    if len(parts) == 1:
        parts.append(line(Span(clean(delta.verdict) or "settled", "muted")))
    return joined(parts, Span("  "))
