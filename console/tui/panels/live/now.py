"""The current figures: throughput and latency of the last window, with n; small samples are marked."""

from textual.geometry import Size

from console.model.frame import Frame
from console.model.load import P95_FLOOR, P99_FLOOR, Window
from console.tui import number_format
from console.tui.panels.live import pinned
from console.tui.panels.words import loop_note
from console.tui.styled_text import BLANK, Line, Span, StyledText, clean, clip, joined, line, spread, width_of
from console.tui.view import Pinned, View

ID_WIDTH = 70
"""Cells from which the title has room for the id of the run that is recorded."""


def now(frame: Frame, view: View, size: Size) -> StyledText:
    """One line, three lines, or large digits over the details, depending on the size."""
    window = frame.window
    title = f"now · {window.window_s:.0f} s window · n={window.latency.n:,}{_recorded(frame, size.width)}"
    changes = [] if view.pinned is None else [pinned.changes(window, view.pinned)]
    foot = "" if view.pinned is None else pinned.title(view.pinned)
    if size.height < 3:
        return StyledText((_one_line(frame, view.pinned, size.width),), title, foot)
    if size.height < 7 or size.width < 36:
        rows = [_throughput(window), _latency(window), _counts(frame), *changes]
        return StyledText(tuple(rows[: size.height]), title, foot)
    rows = [*_tall(window, size.width), _latency_rest(window), *changes]
    details = [_counts(frame), _caveat(frame, view)]
    if len(rows) + len(details) < size.height:
        details.insert(0, _rates(window))
    if size.height >= 10:
        details.insert(2, _gap(window))
    rows += [clip(row, size.width) for row in details]
    return StyledText(tuple(rows[: size.height]), title, foot)


def _recorded(frame: Frame, width: int) -> str:
    """` · rec ● r-20261123-100000-3fa2` in a wide tile while the load is recorded."""
    live = frame.experiments.recording
    if not live.running or frame.replay is not None or width < ID_WIDTH:
        return ""
    return f" · rec {'⚠' if live.trouble else '○' if live.discarded else '●'} {clean(live.run_id)}"


def trend(window: Window) -> Line:
    """`▲ 3 %`: the change of the throughput from the previous window."""
    if window.trend is None:
        return BLANK
    if abs(window.trend) < 0.005:
        return line(Span("= 0 %", "muted"))
    up = window.trend > 0
    return line(Span(f"{'▲' if up else '▼'} {abs(window.trend) * 100:.0f} %", "good" if up else "warn"))


def _since(window: Window) -> Line:
    """`vs 5 s ago`: what the trend is compared with."""
    return BLANK if window.trend is None else line(Span(f"vs {window.window_s:.0f} s ago", "muted"))


def percentile(name: str, value: float | None, n: int, floor: int, role: str) -> Line:
    """`p95 19.8`; dim and with `~` while n is below `floor`, the sample size that the percentile needs."""
    certain = n >= floor or value is None
    text = number_format.ms(value) if certain else f"~{number_format.ms(value)}"
    return line(Span(f"{name} ", "label"), Span(text, role if certain else "muted"))


def error_count(frame: Frame) -> int:
    """Number of failed requests since the load started, all codes together."""
    return sum(frame.load.errors.values())


def _errors(frame: Frame) -> Line:
    total = error_count(frame)
    role = "bad" if total else "value"
    return line(Span("✖ " if total else "", "bad"), Span("err ", "label"), Span(f"{total:,}", role))


def _one_line(frame: Frame, baseline: Pinned | None, width: int) -> Line:
    if baseline is not None:
        return _one_pinned_line(frame, baseline, width)
    window = frame.window
    latency = window.latency
    thr = line(Span("thr ", "label"), Span(f"{number_format.count(window.texts_per_s)}/s", "strong"))
    parts = [
        joined((thr, trend(window)), Span(" ")),
        line(*percentile("p50", latency.p50_ms, latency.n, 1, "strong")),
        percentile("p95", latency.p95_ms, latency.n, P95_FLOOR, "strong"),
        line(*percentile("p99", latency.p99_ms, latency.n, P99_FLOOR, "strong"), Span(" ms", "muted")),
        _errors(frame),
    ]
    if width >= 90:
        parts.append(line(Span("max ", "label"), Span(number_format.ms(latency.max_ms)), Span(" ms", "muted")))
    if width >= 110:
        parts.append(line(Span(loop_note(frame.load.spec), "muted")))
    gap = Span("   " if width >= 78 else "  ")
    return spread(line(" ", *joined(parts, gap)), _provisional(window, width), width)


def _one_pinned_line(frame: Frame, baseline: Pinned, width: int) -> Line:
    """The figures, each with its change from the pinned one in place of the trend."""
    window = frame.window
    latency = window.latency
    figures = {
        "thr": line(Span("thr ", "label"), Span(f"{number_format.count(window.texts_per_s)}/s", "strong")),
        "p50": percentile("p50", latency.p50_ms, latency.n, 1, "strong"),
        "p95": percentile("p95", latency.p95_ms, latency.n, P95_FLOOR, "strong"),
        "p99": percentile("p99", latency.p99_ms, latency.n, P99_FLOOR, "strong"),
    }
    parts = [joined((figure, pinned.change(name, window, baseline)), Span(" ")) for name, figure in figures.items()]
    return clip(line(" ", *joined([*parts, _errors(frame)], Span("   " if width >= 90 else "  "))), width)


def _provisional(window: Window, width: int) -> Line:
    n = window.latency.n
    if not 0 < n < P99_FLOOR or width < 74:
        return BLANK
    return line(Span("~ small n ", "muted"))


def _throughput(window: Window) -> Line:
    return line(
        Span("thr  ", "label"),
        Span(number_format.count(window.texts_per_s), "strong"),
        Span(" texts/s  ", "muted"),
        *joined([part for part in (trend(window), _since(window)) if part], Span(" ")),
    )


def _latency(window: Window) -> Line:
    latency = window.latency
    p50 = percentile("p50", latency.p50_ms, latency.n, 1, "strong")
    p95 = percentile("p95", latency.p95_ms, latency.n, P95_FLOOR, "strong")
    p99 = percentile("p99", latency.p99_ms, latency.n, P99_FLOOR, "strong")
    return line(*joined((p50, p95, p99), Span("  ")), Span(" ms", "muted"))


def _tall(window: Window, width: int) -> list[Line]:
    latency = window.latency
    texts = number_format.count(window.texts_per_s) if window.texts_per_s is not None else number_format.NONE
    left = number_format.tall(texts)
    certain = latency.n >= P95_FLOOR or latency.p95_ms is None
    right = number_format.tall(number_format.ms(latency.p95_ms))
    rows = []
    notes = (trend(window), _since(window), line(Span("texts/s", "muted")))
    marks = ("" if certain else "~", "p95", "ms")
    for row in range(3):
        tail = line(Span(f"{marks[row]:>4} ", "label"), Span(right[row], "series2" if certain else "muted"))
        head = line(Span(left[row], "series1"), " ", *notes[row])
        if width_of(head) + width_of(tail) >= width:
            head = line(Span(left[row], "series1"))
        rows.append(spread(head, tail, width))
    return rows


def _latency_rest(window: Window) -> Line:
    latency = window.latency
    p50 = percentile("p50", latency.p50_ms, latency.n, 1, "strong")
    p99 = percentile("p99", latency.p99_ms, latency.n, P99_FLOOR, "strong")
    top = line(Span("max ", "label"), Span(number_format.ms(latency.max_ms)))
    mean = line(Span("mean ", "label"), Span(number_format.ms(latency.mean_ms)))
    return line(*joined((p50, p99, top, mean), Span("  ")), Span(" ms", "muted"))


def _rates(window: Window) -> Line:
    parts = [line(Span("best ", "label"), Span(number_format.count(window.best_texts_per_s)))]
    if window.pairs_per_s is not None:
        parts.append(line(Span("pairs/s ", "label"), Span(number_format.count(window.pairs_per_s), "strong")))
    parts.append(line(Span("requests/s ", "label"), Span(number_format.count(window.requests_per_s))))
    return joined(parts, Span("   "))


def _counts(frame: Frame) -> Line:
    load = frame.load
    parts = [
        _errors(frame),
        line(Span("retries ", "label"), Span(f"{load.retries:,}")),
        line(Span("truncated ", "label"), Span(f"{load.truncated_texts:,}")),
    ]
    return joined(parts, Span("   "))


def _gap(window: Window) -> Line:
    if window.client_server_gap_ms is None:
        return BLANK
    return line(
        Span("client − server ", "label"), Span(number_format.ms(window.client_server_gap_ms)), Span(" ms", "muted")
    )


def _caveat(frame: Frame, view: View) -> Line:
    n = frame.window.latency.n
    if not frame.load.running:
        return line(
            Span("no load: ", "muted"), Span(view.key("load_toggle"), "key", "load_toggle"), Span(" starts it", "muted")
        )
    if frame.load.saturated:
        return line(Span("⚠ the load generator is the bottleneck", "warn"))
    if 0 < n < P99_FLOOR:
        floor = P95_FLOOR if n < P95_FLOOR else P99_FLOOR
        return line(Span(f"~ provisional: n under {floor} for p{95 if n < P95_FLOOR else 99}", "muted"))
    return line(Span(loop_note(frame.load.spec), "muted"))
