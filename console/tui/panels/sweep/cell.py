"""One cell of a sweep in words, how far the sweep is, and which cells nothing beats in both speed and latency."""

from collections.abc import Sequence

from textual.geometry import Size

from console.actions.registry import Registry
from console.model.durations import duration
from console.sweep.labels import knobs_of, load_of
from console.sweep.state import PointFigures, PointState, PointStatus, SweepState
from console.tui import number_format
from console.tui.panels import marks
from console.tui.styled_text import BLANK, Line, Lines, Span, clean, clip, joined, line, spread, wrap

HIGHEST = 16
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def progress(state: SweepState, width: int, registry: Registry) -> Lines:
    """Two lines: how many, how long still, and what happens now."""
    over = sum(one.status not in (PointStatus.WAITING, PointStatus.RUNNING) for one in state.points)
    total = len(state.points)
    bar_cells = max(8, min(40, width // 4))
    done = number_format.bar(over / max(1, total), bar_cells).rstrip()
    head = line(
        Span(f" {clean(state.name)} ", "strong"),
        *(Span(done, "accent"), Span("░" * (bar_cells - len(done)), "grid")),
        Span(f" {over} of {total}", "strong"),
    )
    counts = [f"{state.count(status)} {status}" for status in PointStatus if state.count(status)]
    left = Span("ended " if state.ended else f"{duration(state.left_s)} left ", "strong")
    first = spread(head, line(Span(", ".join(counts) + "   " if width >= 110 else "", "muted"), left), width)
    return (first, clip(_now(state, registry), width))


def _now(state: SweepState, registry: Registry) -> Line:
    if state.trouble:
        return line(Span(f" ⚠ {clean(state.trouble)}", "warn"))
    if state.ended:
        what = registry.with_keys("{sweep_new} begins another one; what is missing is measured with resume")
        return line(Span(" ■ ended  ", "muted"), Span(what, "muted"))
    place = state.running
    which = f" {one.point.target.cell or 'as it is'}, {load_of(one.point)}: " if (one := _at(state, place)) else " "
    doing = line(Span(" ▶" if place is not None else " ", "accent"), Span(which, "value"), Span(clean(state.doing)))
    if state.ending:
        return line(Span(" ■ ends after this cell ", "badge"), *doing)
    if state.paused:
        words = " ‖ pauses after this cell " if place is not None else " ‖ paused "
        return line(Span(words, "badge"), *doing)
    return doing


def _at(state: SweepState, place: int | None) -> PointState | None:
    return None if place is None else state.points[place]


def facts(one: PointState, width: int) -> Lines:
    """The cell under the cursor: what was asked for, what ran, its figures and why they are marked so."""
    cell, found = one.point, one.figures
    asked = clean(cell.target.cell) or "as it is"
    ran = marks.cell(cell.target, found.effective) if found is not None else line(Span(asked, "strong"))
    rows: list[Line] = [
        joined((ran, line(Span(clean(load_of(cell)))), line(Span(_status(one), "muted"))), Span("  ")),
    ]
    rows.append(line(Span(knobs_of(cell), "muted")))
    if found is not None and found.texts_per_s is not None:
        rows += _figures(found)
    if one.fell_back:
        rows += wrap(f"⚠ {one.fell_back}", width, "warn")
    if one.message:
        rows += wrap(one.message, width, "bad" if one.status is PointStatus.FAILED else "muted")
    if found is not None and found.verdict not in {"ok", "failed"}:
        judged = marks.verdict(found.verdict, slo_missed=found.slo_missed)
        rows.append(line(*judged, Span("  enter shows why", "muted")))
    return tuple(clip(row, width) for row in rows)


def _status(one: PointState) -> str:
    words = {PointStatus.WAITING: "waits; x skips it", PointStatus.RUNNING: "is being measured"}
    return "measured before" if one.resumed else words.get(one.status, "")


def _figures(found: PointFigures) -> list[Line]:
    low, high = found.texts_per_s_low, found.texts_per_s_high
    between = (
        f" (95 %: {number_format.count(low)}–{number_format.count(high)})"
        if low is not None and high is not None
        else ""
    )
    speed = marks.steadied(number_format.count(found.texts_per_s), found.throughput_stable, 0)
    first = joined(
        (
            line(*speed, Span("texts/s"), Span(between, "muted")),
            line(Span("p50 ", "label"), Span(number_format.ms(found.p50_ms), "strong")),
            line(Span("p95 ", "label"), *marks.steadied(number_format.ms(found.p95_ms), found.p95_stable, 0)),
            line(Span("p99 ", "label"), Span(number_format.ms(found.p99_ms), "strong"), Span(" ms", "muted")),
            line(Span(f"n={found.latency_n:,}", "muted")),
        ),
        Span("  "),
    )
    second = [line(Span("fidelity ", "label"), *marks.cosine(found.fidelity))]
    if found.rss_bytes:
        second.append(line(Span("RSS ", "label"), Span(number_format.megabytes(found.rss_bytes))))
    second.append(line(Span("errors ", "label"), Span(f"{found.errors:,}", "bad" if found.errors else "value")))
    return [first, joined(second, Span("  "))]


def front(cells: Sequence[PointState]) -> list[tuple[PointState, float, float]]:
    """The cells that no other one beats in both texts/s and p95, the fastest first. None of them failed."""
    measured = [
        (one, one.figures.texts_per_s, one.figures.p95_ms)
        for one in cells
        if one.status is PointStatus.DONE
        and one.figures is not None
        and one.figures.texts_per_s is not None
        and one.figures.p95_ms is not None
    ]
    kept: list[tuple[PointState, float, float]] = []
    for one, texts, p95_ms in sorted(measured, key=lambda found: (-found[1], found[2])):
        if not kept or p95_ms < kept[-1][2]:
            kept.append((one, texts, p95_ms))
    return kept


def pareto(state: SweepState, size: Size) -> Lines:
    """Throughput against p95: letters are the front, dots the others; below it the front in words."""
    best = front(state.points)
    if not best:
        return (line(Span("The first cells with a certified p95 appear here.", "muted")),)
    words = [_named(LETTERS[at % 26], *each, size.width) for at, each in enumerate(best)]
    words = words[: max(1, size.height // 2)]
    height = min(HIGHEST, size.height - len(words) - 2)
    if height < 4:
        return tuple(words[: size.height])
    return (*_scatter(state, best, size.width, height), BLANK, *words)[: size.height]


def _named(letter: str, one: PointState, texts: float, p95_ms: float, width: int) -> Line:
    found = one.figures
    fidelity = marks.cosine(found.fidelity if found is not None else None)
    mark = marks.verdict(found.verdict if found is not None else "", word=False)
    name = f"{clean(one.point.target.cell) or 'as it is'}, {clean(load_of(one.point))}"
    right = line(
        Span(f"{number_format.count(texts):>8} texts/s {number_format.ms(p95_ms):>7} ms ", "strong"),
        *mark,
        "  ",
        *fidelity,
    )
    return spread(line(Span(f"{letter} ", "accent"), Span(name)), right, width)


def _scatter(state: SweepState, best: Sequence[tuple[PointState, float, float]], width: int, height: int) -> list[Line]:
    found = [one.figures for one in state.points if one.figures is not None]
    points = [(f.texts_per_s, f.p95_ms) for f in found if f.texts_per_s is not None and f.p95_ms is not None]
    most, highest = max(texts for texts, _ in points), max(p95_ms for _, p95_ms in points)
    cols = max(4, width - 7)

    def place(texts: float, p95_ms: float) -> tuple[int, int]:
        return round((1 - p95_ms / highest) * (height - 1)), round(texts / most * (cols - 1))

    canvas = [
        [("·", "grid") if col % 4 == 0 and row == height - 1 else (" ", "grid") for col in range(cols)]
        for row in range(height)
    ]
    for point in points:
        row, col = place(*point)
        canvas[row][col] = ("∙", "label")
    for at, (_, texts, p95_ms) in enumerate(best):
        row, col = place(texts, p95_ms)
        canvas[row][col] = (LETTERS[at % 26], "accent")
    labels = {0: number_format.ms(highest), height - 1: "0"}
    rows = [
        line(Span(f"{labels.get(row, ''):>5} ", "axis"), Span("│", "grid"), *(Span(*cell) for cell in cells))
        for row, cells in enumerate(canvas)
    ]
    foot = spread(line(Span("p95 ms  0", "axis")), line(Span(f"{number_format.short(most)} texts/s", "axis")), width)
    return [*rows, foot]
