"""Sections of a report on what was measured: throughput, latency, coalescing, fidelity, every cell. Pure functions."""

from collections.abc import Sequence

from console.model.load import P95_FLOOR, P99_FLOOR
from console.report.blocks import Block, Section, Table, Terms, Text
from console.report.charts import coalescing_chart, fidelity_chart, latency_chart, scaling_chart, throughput_chart
from console.report.fidelity import AMBER, GREEN
from console.report.figures import (
    ONE_AT_A_TIME,
    by_title_and_load,
    figure,
    has_shared_rss,
    interval,
    margin,
    pace,
    rss,
    speed_status,
    status,
)
from console.report.findings import times
from console.report.model import ReportModel
from console.report.rows import ReportRow

_ONE_AFTER_THE_OTHER = (
    "Deployments were measured one after the other: these intervals do not cover a change of the machine's speed in"
    " between. `embedconsole compare --live` interleaves them."
)
_SHARED = (
    "† measured in an engine process that had served another deployment before: it includes memory that was kept from"
    " that one."
)
_GRADES = {"green": "✓ green", "amber": "~ amber", "red": "✕ red", "": "–"}


def throughput(model: ReportModel) -> Section:
    """Returns the deployments at the chosen load, fastest first, and the throughput by batch size."""
    lines = tuple(
        (
            one.row.title, figure(one.row.texts_per_s, ",.0f"), interval(one.row),
            "baseline" if one.is_baseline else times(one.ratio) if one.ratio else "–", speed_status(one.row),
        )
        for one in model.throughput
    )  # fmt: skip
    base = f" (baseline: {model.baseline.title})" if model.baseline else ""
    head = ("Deployment", "texts/s", "95 % interval", "vs baseline (95 % interval)", "Verdict")
    charts = [throughput_chart(model), scaling_chart(model)]
    blocks: list[Block] = [chart for chart in charts if chart is not None]
    blocks.append(Table(head, lines, frozenset({"texts/s"})))
    if len(lines) > 1:
        blocks.append(Text(f"The baseline is what the others are compared with. {_ONE_AFTER_THE_OTHER}"))
    return Section(f"Throughput at {model.chosen_title}{base}", tuple(blocks))


def latency(model: ReportModel) -> Section:
    """Returns latencies at the chosen load and of one text at a time; other loads are in the table of all cells."""
    measured = [row for row in model.rows if row.latency.n]
    rows = [row for row in measured if row.load.name in (model.chosen, ONE_AT_A_TIME)]
    if not rows:
        return Section("Latency", ())
    lines = tuple(
        (
            row.title, row.load.title, f"{row.latency.n:,}", figure(row.latency.p50_ms, ",.1f"), _p95(row),
            figure(row.latency.p99_ms, ",.1f"), figure(row.latency.max_ms, ",.1f"), status(row),
        )
        for row in sorted(rows, key=by_title_and_load)
    )  # fmt: skip
    head = ("Deployment", "Load", "n", "p50 ms", "p95 ms", "p99 ms", "max ms", "Verdict")
    note = (
        f"As the client saw it, from merged histograms. A dash: too few requests ({P95_FLOOR} for p95, {P99_FLOOR} for"
        " p99)."
    )
    if any(not row.load.rate for row in rows):
        note += (
            " In a closed loop a caller sends its next request when the last one is answered, so a slow response delays"
            " others that are not counted (coordinated omission): latencies look better than users see."
        )
    if len(rows) < len(measured):
        note += " Every other load is in the table of all cells."
    chart = latency_chart(model)
    blocks: tuple[Block, ...] = (Table(head, lines, frozenset(head[2:7])), Text(note))
    return Section("Latency", blocks if chart is None else (chart, *blocks))


def _p95(row: ReportRow) -> str:
    return figure(row.latency.p95_ms, ",.1f") + (" ~" if row.p95_stable is False and row.latency.p95_ms else "")


def coalescing(model: ReportModel) -> Section:
    """Returns the pairs that were measured without and with coalescing; an empty section if there are none."""
    if not model.coalescing:
        return Section("Effect of coalescing", ())
    lines = tuple(
        (
            pair.on.title, str(pair.on.load.batch), pace(pair.on.load),
            figure(pair.off.texts_per_s, ",.0f"), figure(pair.on.texts_per_s, ",.0f"), times(pair.ratio),
            figure(pair.on.mean_batch_items, ".1f"), speed_status(pair.on if pair.off.is_rate_valid else pair.off),
        )
        for pair in model.coalescing
    )  # fmt: skip
    head = ("Deployment", "Batch", "In flight", "texts/s off", "texts/s on", "on / off", "texts per batch", "Verdict")
    note = "Coalescing: the engine computes texts of several requests in one batch. On / off with its 95 % interval."
    blocks: list[Block] = [Table(head, lines, frozenset({*head[1:5], head[6]})), Text(note)]
    if (chart := coalescing_chart(model)) is not None:
        blocks.insert(0, chart)
    return Section("Effect of coalescing: off vs on", tuple(blocks))


def fidelity(model: ReportModel) -> Section:
    """Returns throughput and fidelity of the deployments at the chosen load; an empty section if none is known."""
    if not model.trades:
        return Section("Throughput vs fidelity", ())
    lines = tuple(
        (
            trade.row.title, figure(trade.row.texts_per_s, ",.0f"), figure(trade.row.fidelity, ".5f"),
            figure(trade.row.overlap_at_10, ".3f"), _GRADES[trade.row.grade],
            "✓ on the front" if trade.on_front else "dominated", speed_status(trade.row),
        )
        for trade in model.trades
    )  # fmt: skip
    head = ("Deployment", "texts/s", "mean cosine to fp32", "overlap@10", "Grade", "Pareto front", "Verdict")
    (green, green_overlap), (amber, amber_overlap) = GREEN, AMBER
    terms = Terms((
        ("Overlap@10", "of the ten nearest neighbours of a text under fp32, the share that are also found here."),
        (
            "Grade",
            (
                f"green from cosine {green:g} and overlap {green_overlap:g}, amber from {amber:g} and"
                f" {amber_overlap:g}, red below; by the cosine alone if the overlap was not measured. Red is not"
                " recommended."
            ),
        ),
        ("Pareto front", "no other deployment is both faster and closer to fp32; one that is beaten is dominated."),
    ))  # fmt: skip
    table = Table(head, lines, frozenset(head[1:4]))
    blocks = (table, terms) if len(lines) == 1 else (fidelity_chart(model), table, terms)
    return Section(f"Throughput vs fidelity at {model.chosen_title}", blocks)


def all_cells(model: ReportModel) -> Section:
    """Returns every cell with the ids of its runs, which the rest of the page links to."""
    rows = sorted(model.rows, key=by_title_and_load)
    has_settings, has_errors = any(row.load.settings for row in rows), any(row.errors for row in rows)
    head = (
        "Deployment", "Batch", "In flight", *(["Settings"] if has_settings else []), "texts/s", "95 %", "n",
        "p50 ms", "p95 ms", "p99 ms", "max ms", "RSS MiB", *(["errors"] if has_errors else []), "Verdict", "Run",
    )  # fmt: skip
    lines = tuple(
        (
            row.title, str(row.load.batch), pace(row.load), *([row.load.settings] if has_settings else []),
            figure(row.texts_per_s, ",.0f"), margin(row), f"{row.latency.n:,}", figure(row.latency.p50_ms, ",.1f"),
            _p95(row), figure(row.latency.p99_ms, ",.1f"), figure(row.latency.max_ms, ",.1f"), rss(row),
            *([f"{row.errors:,}"] if has_errors else []), status(row), _run_text(row),
        )
        for row in rows
    )  # fmt: skip
    right = frozenset(head) - {"Deployment", "Settings", "Verdict", "Run"}
    note = "95 %: half the width of the 95 % interval. RSS: memory of the engine process at the end of the run." + (
        f" {_SHARED}" if any(map(has_shared_rss, rows)) else ""
    )
    if len(rows) != sum(len(row.runs) for row in rows):
        note += " A cell of several runs is named by its last one."
    blocks: list[Block] = [Table(head, lines, right, tuple(row.runs for row in rows)), Text(note)]
    return Section("All cells", (*blocks, *_provisional(model)))


def _run_text(row: ReportRow) -> str:
    return row.runs[-1] + (f" (+{len(row.runs) - 1})" if len(row.runs) > 1 else "")


def _provisional(model: ReportModel) -> Sequence[Block]:
    """Returns why the cells whose verdict is not ok are not, and the duration that those which were too short need."""
    if not model.invalid:
        return ()
    needed = [row.duration_needed_s for row in model.invalid if row.duration_needed_s is not None]
    which = "1 of them was" if len(needed) == 1 else f"{len(needed)} of them were"
    short = f" {which} too short to judge: measure for {max(needed)} s." if needed else ""
    count = len(model.invalid)
    text = f"{count} of {len(model.rows)} cells {'is' if count == 1 else 'are'} provisional.{short}"
    lines = tuple((f"{row.title}, {row.load.title}", row.reason or "–", row.runs[-1]) for row in model.invalid)
    return Text(text), Table(("Cell", "Why", "Run"), lines)
