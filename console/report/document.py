"""A report as sections of text, tables and charts, which the renderers of HTML and Markdown format. Pure functions."""

from collections.abc import Mapping, Sequence

from console.analysis.bottleneck import MIN_PADDING_SHARE
from console.model.load import P95_FLOOR, P99_FLOOR
from console.output.table import MARKS
from console.report.blocks import Block, Bullets, Commands, Document, Section, Table, Text
from console.report.charts import (
    coalescing_chart,
    fidelity_chart,
    latency_chart,
    scaling_chart,
    stages_chart,
    throughput_chart,
)
from console.report.findings import times
from console.report.model import ReportModel
from console.report.platform import environment, limits
from console.report.rows import STAGES, ReportRow

NEXT_STEPS: Mapping[str, str] = {
    "queue": "requests wait because the engine is at its capacity: fewer callers lower the latency, not the throughput",
    "queue beside idle cores": "requests wait although the engine uses only part of the cores: another process may use"
    " them, or the engine has too few instances or threads",
    "tokenize": "tokenizing is the bottleneck: send fewer characters, or spread the load over several engine processes",
    "infer": "the forward pass is the bottleneck: use a lower precision, more cores or a GPU",
    "infer beside idle cores": "the forward pass is the bottleneck although the engine uses only part of the cores:"
    " fewer instances with more threads, or a lower precision, may lower the latency",
    "serialize": "serializing vectors is the bottleneck: request float16 or fewer dimensions",
    "transport": "gRPC and the client are the bottleneck: use larger batches, or --stream for single texts",
}
_DEFINITIONS = (
    "A cell is one deployment at one load. The load 32 × 4 is batch 32 with 4 requests in flight. A figure is steady"
    " when its last three windows agree within 10 %. ✓: steady, met or proved; ~: not steady or not proved; ✕: failed"
    " or missed."
)
_ONE_AFTER_THE_OTHER = (
    "Deployments were measured one after the other: these intervals do not cover a change of the machine's speed in"
    " between. `embedconsole compare --live` interleaves them."
)
_STAGES_NOTE = (
    "A stage is the mean over requests of the longest time of a request's texts in it. The texts of a request may go"
    " into several batches, one of which waits while another runs, so the stages may add up to more than the latency."
)
IDLE_SHARE = 0.6
"""Share of the cores below which the engine is not limited by them; a rule."""
MOST_LATENCY_ROWS = 24
"""With more rows the latency table holds the chosen load and ONE_AT_A_TIME alone."""
ONE_AT_A_TIME = "1 × 1"
"""Name of the load with one text in flight."""
_MARK_OF = {"ok": "✓ ok", "unstable": "~ unstable", "client_bound": "~ client bound", "failed": "✕ failed"}


def document(model: ReportModel) -> Document:
    """Returns every section for which there is data; a section without data may name the command that measures it."""
    runs = sum(len(row.runs) for row in model.rows)
    counts = f"{_counted(len(model.rows), 'cell')} from {_counted(runs, 'run')}"
    if superseded := model.runs_given - runs:
        counts += f" ({superseded} more failed or were interrupted, and were measured again)"
    lead = f"{counts}, measured {_when(model)}; {', '.join(model.sources)}."
    sections = (
        _summary(model), _findings(model), _throughput(model), _latency(model), _coalescing(model), _fidelity(model),
        limits(model), _recommendations(model), _bottlenecks(model), environment(model), _method(model),
        _all_cells(model),
    )  # fmt: skip
    return Document(f"Embedding engine results: {model.title}", lead, tuple(one for one in sections if one.blocks))


def _when(model: ReportModel) -> str:
    """`2026-11-23 10:00 to 10:24 UTC`"""
    (day, first), (last_day, last) = (at[:16].split("T") for at in (model.first_run_at, model.last_run_at))
    if (day, first) == (last_day, last):
        return f"{day} {first} UTC"
    return f"{day} {first} to {last if day == last_day else f'{last_day} {last}'} UTC"


def _counted(count: int, what: str) -> str:
    return f"one {what}" if count == 1 else f"{count} {what}s"


def _summary(model: ReportModel) -> Section:
    lines = tuple((one.question, one.answer, f"{one.mark} {one.words}") for one in model.summary)
    return Section("Executive summary", (Table(("Question", "Answer", "Status"), lines), Text(_DEFINITIONS)))


def _findings(model: ReportModel) -> Section:
    blocks: list[Block] = [Bullets(model.findings)] if model.findings else []
    if any(finding.endswith("~") for finding in model.findings):
        blocks.append(Text("A finding that ends with ~ uses figures that were not steady."))
    return Section("Key findings", tuple(blocks))


def _throughput(model: ReportModel) -> Section:
    lines = tuple(
        (
            one.row.name, figure(one.row.texts_per_s, ",.0f"), _interval(one.row),
            "baseline" if one.is_baseline else times(one.ratio) if one.ratio else "–", speed_status(one.row),
        )
        for one in model.throughput
    )  # fmt: skip
    base = f" (baseline: {model.baseline.title})" if model.baseline else ""
    head = ("Deployment", "texts/s", "95 % interval", "vs baseline", "Verdict")
    blocks: list[Block] = [throughput_chart(model), Table(head, lines, frozenset({"texts/s"}))]
    if len(lines) > 1:
        blocks.append(Text(_ONE_AFTER_THE_OTHER))
    if (scaling := scaling_chart(model)) is not None:
        blocks.append(scaling)
    return Section(f"Throughput at {model.chosen_title}{base}", tuple(blocks))


def _latency(model: ReportModel) -> Section:
    measured = [row for row in model.rows if row.latency.n]
    rows = measured
    if len(measured) > MOST_LATENCY_ROWS:
        rows = [row for row in measured if row.load.name in (model.chosen, ONE_AT_A_TIME)]
    lines = tuple(
        (
            row.name, row.load.name, f"{row.latency.n:,}", figure(row.latency.p50_ms, ",.1f"),
            figure(row.latency.p95_ms, ",.1f") + (" ~" if row.p95_stable is False and row.latency.p95_ms else ""),
            figure(row.latency.p99_ms, ",.1f"), figure(row.latency.max_ms, ",.1f"), status(row),
        )
        for row in sorted(rows, key=_by_name_and_load)
    )  # fmt: skip
    head = ("Deployment", "Load", "n", "p50 ms", "p95 ms", "p99 ms", "max ms", "Verdict")
    loops = {bool(row.load.rate) for row in rows}
    loop = (
        " In a closed loop a slow response delays the next request (coordinated omission), so latencies look better"
        " than users see."
        if False in loops
        else ""
    )
    note = (
        f"Measured by the client, from merged histograms. A dash: too few requests for the percentile ({P95_FLOOR} for"
        f" p95, {P99_FLOOR} for p99). ~: not steady.{loop}"
    )
    if len(rows) < len(measured):
        note += " Every other load is in the last table."
    blocks: list[Block] = [Table(head, lines, frozenset(head[2:7])), Text(note)]
    if (chart := latency_chart(model)) is not None:
        blocks.insert(0, chart)
    return Section("Latency", tuple(blocks) if lines else ())


def _coalescing(model: ReportModel) -> Section:
    if not model.coalescing:
        here = next((row for row in model.rows if row.is_valid), model.rows[0])
        words = f"{here.requested.backend} {here.requested.precision}"
        command = f"embedconsole compare --live '{words} coalesce=off' '{words}' --batch 1 --concurrency 32"
        return Section("Effect of coalescing", (Commands((("Not measured. To measure it", command),)),))
    lines = tuple(
        (
            pair.on.name, str(pair.on.load.batch), str(pair.on.load.concurrency or f"{pair.on.load.rate:g}/s"),
            figure(pair.off.texts_per_s, ",.0f"), figure(pair.on.texts_per_s, ",.0f"), times(pair.ratio),
            figure(pair.on.mean_batch_items, ".1f"), _worse_status(pair.off, pair.on),
        )
        for pair in model.coalescing
    )  # fmt: skip
    head = ("Deployment", "Batch", "In flight", "texts/s off", "texts/s on", "on / off", "texts per batch", "Verdict")
    blocks: list[Block] = [Table(head, lines, frozenset({*head[1:5], head[6]}))]
    if (chart := coalescing_chart(model)) is not None:
        blocks.insert(0, chart)
    return Section("Effect of coalescing: off vs on", tuple(blocks))


def _worse_status(one: ReportRow, two: ReportRow) -> str:
    return speed_status(one) if not one.is_rate_valid else speed_status(two)


def _fidelity(model: ReportModel) -> Section:
    if not model.trades:
        command = "embedconsole sweep --preset throughput"
        return Section("Throughput vs fidelity", (Commands((("Fidelity not measured. To measure it", command),)),))
    lines = tuple(
        (
            trade.row.name, figure(trade.row.texts_per_s, ",.0f"), figure(trade.row.fidelity, ".5f"),
            figure(trade.row.overlap_at_10, ".3f"), _GRADES[trade.row.grade],
            "✓ on the front" if trade.on_front else "dominated", speed_status(trade.row),
        )
        for trade in model.trades
    )  # fmt: skip
    head = ("Deployment", "texts/s", "mean cosine to fp32", "overlap@10", "Grade", "Pareto front", "Verdict")
    note = "A deployment is on the Pareto front if no other one is both faster and closer to fp32."
    title, table = f"Throughput vs fidelity at {model.chosen_title}", Table(head, lines, frozenset(head[1:4]))
    return Section(title, (table,) if len(lines) == 1 else (fidelity_chart(model), table, Text(note)))


_GRADES = {"green": "✓ green", "amber": "~ amber", "red": "✕ red", "": "–"}


def _recommendations(model: ReportModel) -> Section:
    lines = tuple(
        (one.purpose, one.choice, one.evidence, "✓ proved" if one.sure else f"~ {one.doubt}")
        for one in model.recommendations
    )
    if not lines:
        return Section("Recommendations", ())
    titles = {row.name: row.title for row in model.rows}
    checks = [(f"How to verify: {one.purpose}", one.reproduce) for one in model.recommendations]
    serves = [(f"Serve {titles.get(one.choice, one.choice)}", one.serve) for one in model.recommendations]
    commands = tuple(dict.fromkeys([*checks, *serves]))
    head = ("For", "Use", "Evidence", "Status")
    return Section("Recommendations", (Table(head, lines), Commands(commands)))


def _bottlenecks(model: ReportModel) -> Section:
    here = [one.row for one in model.throughput if one.row.stages_ms]
    if not here:
        return Section("Bottlenecks and next steps", ())
    cores = model.environment.get("cores") or 0
    blocks: list[Block] = [_stages_table(here), Text(_STAGES_NOTE), Bullets(_next_steps(here, cores))]
    if (chart := stages_chart(model)) is not None:
        blocks.insert(0, chart)
    alone = [row for row in model.rows if row.load.name == ONE_AT_A_TIME != model.chosen and row.stages_ms]
    if alone:
        blocks += [
            Text(f"At {alone[0].load.title}, where no request waits for another:"),
            _stages_table(sorted(alone, key=lambda row: row.latency.p50_ms or 0.0)),
            Bullets(_next_steps(alone, cores)),
        ]
    return Section(f"Bottlenecks at {model.chosen_title}: next steps", tuple(blocks))


def _stages_table(rows: Sequence[ReportRow]) -> Table:
    lines = tuple(
        (
            row.name, *(figure(row.stages_ms.get(stage), ",.2f") for stage in STAGES),
            figure(row.padding_ratio, ".0%"), figure(row.engine_cpu, ".2f"),
            row.bottleneck.sentence if row.bottleneck else "–",
        )
        for row in rows
    )  # fmt: skip
    head = ("Deployment", *(f"{stage} ms" for stage in STAGES), "padding", "engine cores", "Bottleneck")
    return Table(head, lines, frozenset(head[1:7]))


def _next_steps(rows: Sequence[ReportRow], cores: int) -> tuple[str, ...]:
    by_stage: dict[str, list[str]] = {}
    for row in rows:
        if row.bottleneck is not None:
            stage = row.bottleneck.stage
            idle = row.engine_cpu is not None and row.engine_cpu < IDLE_SHARE * cores
            name = f"{stage} beside idle cores"
            by_stage.setdefault(name if idle and name in NEXT_STEPS else stage, []).append(row.name)

    def which(names: Sequence[str]) -> str:
        return "All of them" if len(names) == len(rows) > 1 else ", ".join(names)

    steps = [f"{which(names)}: {NEXT_STEPS.get(stage, stage)}." for stage, names in by_stage.items()]
    padded = [row.name for row in rows if (row.padding_ratio or 0.0) >= MIN_PADDING_SHARE]
    if padded:
        steps.append(
            f"{which(padded)}: {MIN_PADDING_SHARE:.0%} or more of the tokens is padding; with more texts in flight"
            " the engine batches texts of similar length."
        )
    return tuple(steps)


def _method(model: ReportModel) -> Section:
    blocks: list[Block] = [
        Text(
            "Throughput counts successful texts from completion to completion after the warm-up, with a 95 % t-interval"
            " over blocks of seconds (or over repeats). A load is batch × concurrency, or a batch at a rate of"
            " requests. A cell is steady if its last three windows lie within max/min 1.10 and Little's law holds."
            " A ratio is computed with Welch's 95 % interval on the logarithms of those blocks, so it may differ"
            " slightly from the quotient of the two figures; “same” means that the whole interval lies within 3 %."
        )
    ]
    if model.invalid:
        lines = tuple((row.name, row.load.name, status(row), row.reason or "–", row.runs[-1]) for row in model.invalid)
        blocks += [
            Text(f"{_invalid_text(model)} Their figures are shown and marked:"),
            Table(("Deployment", "Load", "Verdict", "Why", "Run"), lines),
        ]
    return Section("Method and provisional cells", tuple(blocks))


def _invalid_text(model: ReportModel) -> str:
    """Counts the cells whose verdict is not ok, and states the duration that those which were too short need."""
    needed = [row.duration_needed_s for row in model.invalid if row.duration_needed_s is not None]
    which = "1 of them was" if len(needed) == 1 else f"{len(needed)} of them were"
    short = f" {which} too short to judge: measure for {max(needed)} s." if needed else ""
    count = len(model.invalid)
    return f"{count} of {len(model.rows)} cells {'is' if count == 1 else 'are'} provisional.{short}"


def _all_cells(model: ReportModel) -> Section:
    lines = tuple(
        (
            row.name, row.load.name, figure(row.texts_per_s, ",.0f"), _interval(row), f"{row.latency.n:,}",
            *(figure(value, ",.1f") for value in (row.latency.p50_ms, row.latency.p95_ms, row.latency.p99_ms)),
            _rss(row), f"{row.errors:,}", status(row), row.runs[-1],
        )
        for row in sorted(model.rows, key=_by_name_and_load)
    )  # fmt: skip
    head = (
        "Deployment", "Load", "texts/s", "95 %", "n", "p50 ms", "p95 ms", "p99 ms", "RSS MiB", "errors", "Verdict",
        "Run",
    )  # fmt: skip
    table = Table(head, lines, frozenset({head[2], *head[4:10]}))
    shared = any(row.rss_bytes and row.deployments_before for row in model.rows)
    note = (
        "RSS (+N): the engine process had served N other deployments before and may keep memory of them, so this RSS is"
        " not compared. `embedconsole run` measures a deployment in a process of its own."
    )
    return Section("All cells", (table, Text(note)) if shared else (table,))


def _rss(row: ReportRow) -> str:
    """RSS in MiB, with the number of deployments that the process had served before: `650 (+2)`."""
    earlier = f" (+{row.deployments_before})" if row.deployments_before else ""
    return f"{row.rss_bytes / 2**20:,.0f}{earlier}" if row.rss_bytes else "–"


def _by_name_and_load(row: ReportRow) -> tuple[str, int, int, float, bool]:
    load = row.load
    return (row.name, load.batch, load.concurrency, load.rate or 0.0, not load.coalesce)


def status(row: ReportRow) -> str:
    """The verdict with its mark; for a steady cell also whether it missed the SLO or has too few requests for it."""
    if row.is_valid and row.slo_missed:
        return "✕ SLO missed"
    if row.is_valid and row.slo_unknown:
        return "~ too few requests for the SLO"
    return _MARK_OF.get(row.verdict, f"{MARKS.get(row.verdict, '~')} {row.verdict}")


def speed_status(row: ReportRow) -> str:
    """The verdict on the throughput alone, with its mark."""
    return _MARK_OF["ok"] if row.is_rate_valid else _MARK_OF.get(row.verdict, row.verdict)


def figure(value: float | None, form: str) -> str:
    """The value in the format `form`, or a dash for None."""
    return "–" if value is None else f"{value:{form}}"


def _interval(row: ReportRow) -> str:
    return f"{row.low:,.0f} to {row.high:,.0f}" if row.low is not None and row.high is not None else "–"
