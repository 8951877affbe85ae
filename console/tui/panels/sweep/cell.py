"""A sweep's progress, one of its cells in detail, and its Pareto front of throughput and p95."""

from collections.abc import Sequence

from textual.geometry import Size

from console.actions.registry import Registry
from console.model.durations import duration
from console.sweep.labels import load_of
from console.sweep.state import PointFigures, PointState, PointStatus, SweepState
from console.tui import number_format
from console.tui.panels import marks
from console.tui.styled_text import BLANK, Line, Lines, Span, clean, clip, joined, line, spread, wrap

MAX_PLOT_ROWS = 16
LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Names of the cells on the Pareto front."""
CURRENT = "as it is"
"""A cell without a target: it measures the deployment that is running."""


def progress(state: SweepState, width: int, registry: Registry) -> Lines:
    """Two lines: completed cells and time left, and what happens now."""
    completed = sum(one.status not in (PointStatus.WAITING, PointStatus.RUNNING) for one in state.points)
    total = len(state.points)
    bar_cells = max(8, min(40, width // 4))
    done = number_format.bar(completed / max(1, total), bar_cells).rstrip()
    head = line(
        Span(f" {clean(state.name)} ", "strong"),
        *(Span(done, "accent"), Span("░" * (bar_cells - len(done)), "grid")),
        Span(f" {completed} of {total}", "strong"),
    )
    counts = [f"{state.count(status)} {status}" for status in PointStatus if state.count(status)]
    left = Span("ended " if state.ended else f"{duration(state.left_s)} left ", "strong")
    first = spread(head, line(Span(", ".join(counts) + "   " if width >= 110 else "", "muted"), left), width)
    return (first, clip(_now(state, registry), width))


def _now(state: SweepState, registry: Registry) -> Line:
    if state.trouble:
        return line(Span(f" ⚠ {clean(state.trouble)}", "warn"))
    if state.ended:
        missing = sum(one.status is not PointStatus.DONE for one in state.points)
        cells = "missing cell" if missing == 1 else f"{missing} missing cells"
        resume = f" · resume runs the {cells}" if missing else ""
        return line(Span(" ■ ended  ", "muted"), Span(registry.with_keys(f"{{sweep_new}} new sweep{resume}"), "muted"))
    index = state.running
    which = f" {one.point.target.cell or CURRENT}, {load_of(one.point)}: " if (one := _at(state, index)) else " "
    doing = line(Span(" ▶" if index is not None else " ", "accent"), Span(which, "value"), Span(clean(state.doing)))
    if state.ending:
        return line(Span(" ■ ends after this cell ", "badge"), *doing)
    if state.paused:
        words = " ‖ pauses after this cell " if index is not None else " ‖ paused "
        return line(Span(words, "badge"), *doing)
    return doing


def _at(state: SweepState, index: int | None) -> PointState | None:
    return None if index is None else state.points[index]


def facts(one: PointState, width: int) -> Lines:
    """The selected cell: requested and effective deployment, its figures, and the reason of its mark."""
    cell, figures = one.point, one.figures
    requested = line(Span(clean(cell.target.cell) or CURRENT, "strong"))
    deployment = marks.cell(cell.target, figures.effective) if figures is not None else requested
    rows: list[Line] = [
        joined((deployment, line(Span(clean(load_of(cell)))), line(Span(_status(one), "muted"))), Span("  ")),
    ]
    if figures is not None and figures.texts_per_s is not None:
        rows += _figures(figures)
    if one.fell_back:
        rows += wrap(f"⚠ {one.fell_back}", width, "warn")
    if one.message:
        rows += wrap(one.message, width, "bad" if one.status is PointStatus.FAILED else "muted")
    if figures is not None and figures.verdict not in {"ok", "failed"}:
        verdict = marks.verdict(figures.verdict, slo_missed=figures.slo_missed)
        rows.append(line(*verdict, Span("  enter shows why", "muted")))
    return tuple(clip(row, width) for row in rows)


def _status(one: PointState) -> str:
    words = {PointStatus.WAITING: "waiting, x skips it", PointStatus.RUNNING: "running"}
    return "measured earlier" if one.resumed else words.get(one.status, "")


def _figures(figures: PointFigures) -> list[Line]:
    low, high = figures.texts_per_s_low, figures.texts_per_s_high
    between = (
        f" (95 %: {number_format.count(low)}–{number_format.count(high)})"
        if low is not None and high is not None
        else ""
    )
    speed = marks.with_stability(number_format.count(figures.texts_per_s), figures.throughput_stable, 0)
    first = joined(
        (
            line(*speed, Span("texts/s"), Span(between, "muted")),
            line(Span("p50 ", "label"), Span(number_format.ms(figures.p50_ms), "strong")),
            line(Span("p95 ", "label"), *marks.with_stability(number_format.ms(figures.p95_ms), figures.p95_stable, 0)),
            line(Span("p99 ", "label"), Span(number_format.ms(figures.p99_ms), "strong"), Span(" ms", "muted")),
            line(Span(f"n={figures.latency_n:,}", "muted")),
        ),
        Span("  "),
    )
    second = [line(Span("fidelity ", "label"), *marks.cosine(figures.fidelity))]
    if figures.rss_bytes:
        second.append(line(Span("RSS ", "label"), Span(number_format.megabytes(figures.rss_bytes))))
    second.append(line(Span("errors ", "label"), Span(f"{figures.errors:,}", "bad" if figures.errors else "value")))
    return [first, joined(second, Span("  "))]


def pareto_front(cells: Sequence[PointState]) -> list[tuple[PointState, float, float]]:
    """Returns the completed cells that no other cell beats in both texts/s and p95, with both figures.

    The one with the highest throughput is first.
    """
    measured = [
        (one, one.figures.texts_per_s, one.figures.p95_ms)
        for one in cells
        if one.status is PointStatus.DONE
        and one.figures is not None
        and one.figures.texts_per_s is not None
        and one.figures.p95_ms is not None
    ]
    kept: list[tuple[PointState, float, float]] = []
    for one, texts, p95_ms in sorted(measured, key=lambda each: (-each[1], each[2])):
        if not kept or p95_ms < kept[-1][2]:
            kept.append((one, texts, p95_ms))
    return kept


def pareto(state: SweepState, size: Size) -> Lines:
    """A plot of throughput and p95 in which letters are the Pareto front, then the cells of the front."""
    best = pareto_front(state.points)
    if not best:
        return (line(Span("Cells appear here once they have enough requests for a p95.", "muted")),)
    words = [_named(LETTERS[at % 26], *each, size.width) for at, each in enumerate(best)]
    words = words[: max(1, size.height // 2)]
    height = min(MAX_PLOT_ROWS, size.height - len(words) - 2)
    if height < 4:
        return tuple(words[: size.height])
    return (*_scatter(state, best, size.width, height), BLANK, *words)[: size.height]


def _named(letter: str, one: PointState, texts: float, p95_ms: float, width: int) -> Line:
    figures = one.figures
    fidelity = marks.cosine(figures.fidelity if figures is not None else None)
    mark = marks.verdict(figures.verdict if figures is not None else "", word=False)
    name = f"{clean(one.point.target.cell) or CURRENT}, {clean(load_of(one.point))}"
    right = line(
        Span(f"{number_format.count(texts):>8} texts/s {number_format.ms(p95_ms):>7} ms ", "strong"),
        *mark,
        "  ",
        *fidelity,
    )
    return spread(line(Span(f"{letter} ", "accent"), Span(name)), right, width)


def _scatter(state: SweepState, best: Sequence[tuple[PointState, float, float]], width: int, height: int) -> list[Line]:
    measured = [one.figures for one in state.points if one.figures is not None]
    points = [(f.texts_per_s, f.p95_ms) for f in measured if f.texts_per_s is not None and f.p95_ms is not None]
    max_texts, max_p95_ms = max(texts for texts, _ in points), max(p95_ms for _, p95_ms in points)
    cols = max(4, width - 7)

    def position(texts: float, p95_ms: float) -> tuple[int, int]:
        return round((1 - p95_ms / max_p95_ms) * (height - 1)), round(texts / max_texts * (cols - 1))

    canvas = [
        [("·", "grid") if col % 4 == 0 and row == height - 1 else (" ", "grid") for col in range(cols)]
        for row in range(height)
    ]
    for point in points:
        row, col = position(*point)
        canvas[row][col] = ("∙", "label")
    for at, (_, texts, p95_ms) in enumerate(best):
        row, col = position(texts, p95_ms)
        canvas[row][col] = (LETTERS[at % 26], "accent")
    labels = {0: number_format.ms(max_p95_ms), height - 1: "0"}
    rows = [
        line(Span(f"{labels.get(row, ''):>5} ", "axis"), Span("│", "grid"), *(Span(*cell) for cell in cells))
        for row, cells in enumerate(canvas)
    ]
    foot = spread(
        line(Span("p95 ms  0", "axis")), line(Span(f"{number_format.short(max_texts)} texts/s", "axis")), width
    )
    return [*rows, foot]
