"""The list of runs: one line for each run, with the columns that fit the width."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from console.services.ports import ListedRun
from console.store.labels import load_name
from console.store.read import RunRow
from console.tui import number_format
from console.tui.panels import marks
from console.tui.styled_text import Line, Lines, Span, clean, clip, joined, line, width_of

GAP = 2
"""Cells between two columns."""


class Column(NamedTuple):
    """A column. `rank`: where there is no room, the column with the highest rank is dropped first; 0: never."""

    name: str
    width: int
    draw: Callable[[RunRow, int], Line]
    right: bool = False
    rank: int = 0


def _when(row: RunRow, width: int) -> Line:
    text = row.started_at[:19].replace("T", " ")
    short = text[5:19] if width >= 14 else text[5:16]
    return line(Span(text if width >= 19 else short, "label"))


def _verdict(row: RunRow, width: int) -> Line:
    return marks.verdict(
        row.verdict, interrupted=bool(row.interrupted), slo_missed=bool(row.slo_missed), word=width > 2
    )


COLUMNS = (
    Column("when UTC", 11, _when),
    Column("cell", 18, lambda row, _: marks.cell(row.requested, row.effective)),
    Column("load", 8, lambda row, _: line(Span(clean(load_name(row))))),
    Column(
        "texts/s",
        7,
        lambda row, w: marks.with_stability(number_format.count(row.texts_per_s), row.throughput_stable, w),
        True,
    ),
    Column("p95 ms", 8, lambda row, w: marks.with_stability(number_format.ms(row.p95_ms), row.p95_stable, w), True),
    Column("fidelity", 8, lambda row, _: marks.cosine(row.fidelity)),
    Column("errors", 7, lambda row, w: _count(row.errors, w), True, 4),
    Column("verdict", 14, _verdict),
    Column("tags", 12, lambda row, _: line(Span(clean(" ".join(row.tags)), "accent")), rank=3),
)
NARROW = {"verdict": 1}
"""Widths of columns that can be narrowed."""
WIDE = {"when UTC": 19, "cell": 32, "load": 24, "tags": 24, "verdict": 24}
"""Maximum widths of columns that can be widened."""


def _count(value: int, width: int) -> Line:
    return line(Span(f"{value:,}".rjust(width), "bad" if value else "muted"))


def fit_columns(width: int) -> list[tuple[Column, int]]:
    """Returns the columns that fit, with their widths. The remaining cells widen the columns of WIDE."""
    chosen = [(column, column.width) for column in COLUMNS]
    while _total(chosen) > width and (spare := max((c for c, _ in chosen if c.rank), key=_rank, default=None)):
        chosen = [(column, cells) for column, cells in chosen if column is not spare]
    if _total(chosen) > width:
        chosen = [(column, NARROW.get(column.name, cells)) for column, cells in chosen]
        names = {column.name for column, _ in chosen}
        tags = next(column for column in COLUMNS if column.name == "tags")
        if "tags" not in names and _total([*chosen, (tags, 6)]) <= width:
            chosen.append((tags, 6))
    for name in ("when UTC", "fidelity", "load"):
        if _total(chosen) > width:
            chosen = [(column, cells) for column, cells in chosen if column.name != name]
    left = width - _total(chosen)
    for name in ("when UTC", "cell", "verdict", "tags", "load"):
        chosen, left = _widened(chosen, name, left)
    return chosen


def _rank(column: Column) -> int:
    return column.rank


def _total(columns: Sequence[tuple[Column, int]]) -> int:
    return sum(cells for _, cells in columns) + GAP * len(columns) + 1


def _widened(chosen: list[tuple[Column, int]], name: str, left: int) -> tuple[list[tuple[Column, int]], int]:
    wider = []
    for column, cells in chosen:
        more = min(left, WIDE[name] - cells) if column.name == name else 0
        if name == "when UTC":
            more = next((wanted - cells for wanted in (19, 14) if wanted <= cells + more), 0)
        if name == "verdict" and cells < 14 > more + cells:
            more = 0
        more = max(more, 0)
        wider.append((column, cells + more))
        left -= more
    return wider, left


def head(columns: Sequence[tuple[Column, int]]) -> Line:
    """The header row: the names of the columns."""
    return line(Span("   " + (" " * GAP).join(_head(column, cells) for column, cells in columns), "label"))


def _head(column: Column, cells: int) -> str:
    name = column.name if len(column.name) <= cells else ""
    return name.rjust(cells - 1).ljust(cells) if column.right else name.ljust(cells)


def row_line(
    run: ListedRun, columns: Sequence[tuple[Column, int]], *, here: bool, marked: Mapping[str, int], click: str
) -> Line:
    """The line of one run. `marked`: numbers of the marked runs by id; 1 is the baseline. `here`: under the cursor."""
    number = marked.get(run.row.run_id, 0)
    spans = [Span("▸" if here else " ", "accent", click), Span(str(number) if number else " ", "marker", click)]
    spans.append(Span(" ", "value", click))
    last = columns[-1][0]
    for column, cells in columns:
        drawn = clip(column.draw(run.row, cells), cells)
        spans += [span._replace(action=click) for span in drawn]
        spans.append(Span(" " * (cells - width_of(drawn) + (0 if column is last else GAP)), "value", click))
    if here:
        spans = [span._replace(role="cursor") for span in spans]
    return tuple(spans)


def brief(row: RunRow, width: int) -> Lines:
    """Three lines on one run, from its row only."""
    live = row.effective
    shape = f"{clean(live.device)}, {live.instances} × {live.threads} threads" if live.instances else clean(live.device)
    head_line = joined(
        (
            line(Span(clean(row.run_id), "label")),
            marks.cell(row.requested, live),
            line(Span(shape, "muted")),
            line(Span(clean(load_name(row)))),
        ),
        Span("  "),
    )
    between = (
        f" (95 %: {number_format.count(row.texts_per_s_low)}–{number_format.count(row.texts_per_s_high)})"
        if row.texts_per_s_low is not None
        else ""
    )
    rate = marks.with_stability(number_format.count(row.texts_per_s), row.throughput_stable, 0)
    measured = [
        line(*rate, Span("texts/s"), Span(between, "muted")),
        *(
            line(Span(f"{name} ", "label"), Span(number_format.ms(value), "strong"))
            for name, value in (("p50", row.p50_ms), ("p95", row.p95_ms), ("p99", row.p99_ms))
        ),
        line(Span(f"n={row.latency_n:,}", "muted")),
    ]
    if row.rss_bytes:
        measured.append(line(Span("RSS ", "label"), Span(number_format.megabytes(row.rss_bytes))))
    verdict = marks.verdict(row.verdict, interrupted=bool(row.interrupted), slo_missed=bool(row.slo_missed))
    failure = Span(f": {clean(row.failure)}" if row.failure else "", "bad")
    tags = Span("  " + clean(" ".join(f"#{tag}" for tag in row.tags)), "accent")
    return tuple(clip(each, width) for each in (head_line, joined(measured, Span("  ")), (*verdict, failure, tags)))
