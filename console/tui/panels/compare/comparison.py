"""Runs side by side: a column for each run, ratios to the baseline, then configuration and environment."""

from console.compare.side_by_side import ConfigRow, FigureRow, SideBySide, Versus
from console.tui import number_format
from console.tui.panels import marks
from console.tui.styled_text import BLANK, Line, Lines, Span, clean, clip, line, width_of, wrap

LABEL = 14
"""Cells of the row labels."""
MARKS = {"better": ("▲", "good"), "worse": ("▼", "bad"), "same": ("=", "value"), "undecided": ("?", "warn")}
LEGEND = "ratio to the baseline: ▲ better  ▼ worse  = same within 3 %  ? inconclusive: CI includes 1"
MAX_COLUMN = 44
BESIDE_FROM, FIGURE = 24, 9
"""Columns of BESIDE_FROM cells or more show the ratio beside the figure, which gets FIGURE cells."""
THROUGHPUT_WORDS = {"better": "faster", "worse": "slower", "same": "as fast", "undecided": "inconclusive"}
"""The verdict on a run's throughput in words."""


def table(comparison: SideBySide, width: int, cursor: int, *, equal_rows: bool) -> Lines:
    """The whole table: runs, warnings, figures with ratios, configuration, environment."""
    column = min(MAX_COLUMN, max(12, (width - LABEL) // max(1, len(comparison.runs))))
    rows: list[Line] = [*_heads(comparison, column, cursor)]
    for text in comparison.warnings:
        rows += [line(Span("⚠ ", "warn"), *each) for each in wrap(text, width - 2, "warn")]
    rows.append(BLANK)
    for row in comparison.figures:
        rows += _figure(row, column)
    rows += [line(Span(LEGEND, "muted")), BLANK]
    shown = [row for row in comparison.config if row.differs or equal_rows]
    rows.append(line(Span("configuration", "accent"), Span("" if shown else "  the same", "muted")))
    rows += [_setting(row, column) for row in shown]
    if comparison.environment:
        rows.append(line(Span("environment", "accent"), Span("  ⚠ differs", "warn")))
        rows += [_setting(row, column) for row in comparison.environment]
    return tuple(clip(row, width) for row in rows)


def _figure(row: FigureRow, column: int) -> list[Line]:
    """The ratio is beside its figure where there is room, else below it."""
    values = [_value(row, at) for at in range(len(row.values))]
    ratios = [_ratio(one) for one in row.versus]
    if not any(ratios):
        return [_cells(row.name, values, column)]
    if column < BESIDE_FROM:
        return [_cells(row.name, values, column), _cells("", ratios, column)]
    both = [
        (*value, Span(" " * max(1, FIGURE - width_of(value))), *ratio)
        for value, ratio in zip(values, ratios, strict=True)
    ]
    return [_cells(row.name, both, column)]


def _heads(comparison: SideBySide, column: int, cursor: int) -> list[Line]:
    numbers, names, cells, loads = [], [], [], []
    for at, opened in enumerate(comparison.runs):
        row = opened.run.row
        role = "cursor" if at == cursor else "strong"
        numbers.append(line(Span(f" {at + 1} ", role), Span(" "), *_throughput_verdict(comparison, at)))
        names.append(line(Span(clean(row.run_id), "label")))
        cells.append(marks.cell(row.requested, row.effective))
        tags = " ".join(f"#{tag}" for tag in row.tags)
        loads.append(line(Span(row.started_at[5:16].replace("T", " "), "muted"), Span(f" {clean(tags)}", "accent")))
    verdicts = [_verdict(comparison, at) for at in range(len(comparison.runs))]
    return [
        _cells("run", numbers, column),
        *(_cells("", part, column) for part in (names, cells, loads)),
        _cells("verdict", verdicts, column),
    ]


def _throughput_verdict(comparison: SideBySide, at: int) -> Line:
    """`baseline`, or how the throughput of a run compares with it."""
    if at == 0:
        return line(Span("baseline", "muted"))
    versus = comparison.figures[0].versus[at]
    if versus is None or not versus.verdict:
        return line(Span("not comparable", "muted"))
    mark, role = MARKS[versus.verdict]
    return line(Span(f"{mark} {THROUGHPUT_WORDS[versus.verdict]}", role))


def _cells(name: str, parts: list[Line], column: int) -> Line:
    spans = [Span(clip(line(Span(name)), LABEL - 1)[0].text.ljust(LABEL) if name else " " * LABEL, "label")]
    for part in parts:
        drawn = clip(part, column - 1)
        spans += [*drawn, Span(" " * (column - width_of(drawn)))]
    return tuple(spans)


def _value(row: FigureRow, at: int) -> Line:
    value = row.values[at]
    if row.name == "fidelity":
        return marks.cosine(value)
    if value is None:
        return line(Span(number_format.NONE, "muted"))
    written = {"RSS": number_format.megabytes, "texts/s": number_format.count, "n": number_format.count}.get(
        row.name, number_format.ms
    )
    unstable = row.stable[at] is False
    return line(Span(written(value), "value" if unstable else "strong"), Span(" ~" if unstable else "", "warn"))


def _ratio(versus: Versus | None) -> Line:
    if versus is None or versus.ratio is None:
        return BLANK
    mark, role = MARKS.get(versus.verdict, ("", "muted"))
    margin = f" ±{versus.margin:.2f}" if versus.margin is not None else ""
    return line(Span(f"{mark} " if mark else "  ", role), Span(f"{versus.ratio:.2f}×", role), Span(margin, "muted"))


def _verdict(comparison: SideBySide, at: int) -> Line:
    row = comparison.runs[at].run.row
    return marks.verdict(row.verdict, interrupted=bool(row.interrupted), slo_missed=bool(row.slo_missed))


def _setting(row: ConfigRow, column: int) -> Line:
    baseline = row.values[0]
    parts = [
        line(
            Span("≠ " if value != baseline else "  ", "warn"),
            Span(clean(value) or number_format.NONE, _role(value, baseline)),
        )
        for value in row.values
    ]
    return _cells(row.name, parts, column)


def _role(value: str, baseline: str) -> str:
    return "strong" if value != baseline else "value"
