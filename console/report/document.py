"""A report as sections of text, tables and charts: what every readable format renders, each in its own way. Pure."""

from collections.abc import Mapping, Sequence

from console.analysis.bottleneck import MIN_PADDING_SHARE
from console.model.load import P95_FLOOR, P99_FLOOR
from console.output.table import MARKS
from console.report.blocks import Block, Bullets, Commands, Document, Section, Table, Text
from console.report.cells import STAGES, Cell
from console.report.charts import (
    coalescing_chart,
    latency_chart,
    scaling_chart,
    stages_chart,
    throughput_chart,
    trade_chart,
)
from console.report.findings import times
from console.report.model import ReportModel
from console.report.platform import environment, limits

NEXT_STEPS: Mapping[str, str] = {
    "queue": "requests wait because the engine is at its capacity: fewer callers lower the latency, not the throughput",
    "queue beside idle cores": "requests wait although the engine uses only a part of the cores: something else may use"
    " them, or it has too few instances or threads",
    "tokenize": "tokenizing limits: send fewer characters, or spread the load over several engine processes",
    "infer": "the forward pass limits: a lower precision, more cores or a GPU is what helps",
    "infer beside idle cores": "the forward pass limits while the engine uses only a part of the cores: fewer instances"
    " with more threads may answer sooner, and so may a lower precision",
    "serialize": "vectors into bytes limits: ask for float16 or fewer dimensions",
    "transport": "time goes into gRPC and the client: larger batches, or --stream for single texts",
}
_ONE_AFTER_THE_OTHER = (
    "Deployments were measured one after the other, so a machine that changed speed in between is not in these"
    " intervals; `embedconsole compare --live` interleaves them."
)
_STAGES_NOTE = (
    "Stages are means of a request, each the longest of its texts. A request whose texts go into several batches waits"
    " for one while another runs, so that its stages may add up to more than its latency."
)
IDLE_SHARE = 0.6
"""Of the cores: an engine that uses less is not limited by them."""
MOST_LATENCY_ROWS = 24
ONE_AT_A_TIME = "1 × 1"
_MARK_OF = {"ok": "✓ ok", "unstable": "~ unstable", "client_bound": "~ client bound", "failed": "✕ failed"}


def document(model: ReportModel) -> Document:
    """Every section that the data can fill; what was not measured is said, with the command that would."""
    runs = sum(len(cell.runs) for cell in model.cells)
    counts = f"{_counted(len(model.cells), 'cell')} from {_counted(runs, 'run')}"
    if again := model.runs_given - runs:
        counts += f" ({again} more failed or were cut off, and were measured again)"
    lead = f"{counts}, measured {_when(model)}; {', '.join(model.sources)}."
    sections = (
        _summary(model), _findings(model), _throughput(model), _latency(model), _coalescing(model), _trade(model),
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
    rows = tuple((row.question, row.answer, f"{row.mark} {row.words}") for row in model.summary)
    return Section("Executive summary", (Table(("Question", "Answer", "Status"), rows),))


def _findings(model: ReportModel) -> Section:
    blocks: list[Block] = [Bullets(model.findings)] if model.findings else []
    if any(finding.endswith("~") for finding in model.findings):
        blocks.append(Text("A ~ behind a finding: not all of its figures were steady."))
    return Section("Key findings", tuple(blocks))


def _throughput(model: ReportModel) -> Section:
    rows = tuple(
        (
            one.cell.name, figure(one.cell.texts_per_s, ",.0f"), _interval(one.cell),
            "the baseline" if one.is_baseline else times(one.ratio) if one.ratio else "–", speed_status(one.cell),
        )
        for one in model.throughput
    )  # fmt: skip
    base = f" against {model.baseline.name}" if model.baseline else ""
    head = ("Deployment", "texts/s", "95 % interval", "over the baseline", "Verdict")
    blocks: list[Block] = [throughput_chart(model), Table(head, rows, frozenset({"texts/s"}))]
    if len(rows) > 1:
        blocks.append(Text(_ONE_AFTER_THE_OTHER))
    if (scaling := scaling_chart(model)) is not None:
        blocks.append(scaling)
    return Section(f"Throughput at {model.chosen}{base}", tuple(blocks))


def _latency(model: ReportModel) -> Section:
    measured = [cell for cell in model.cells if cell.latency.n]
    cells = measured
    if len(measured) > MOST_LATENCY_ROWS:
        cells = [cell for cell in measured if cell.load.name in (model.chosen, ONE_AT_A_TIME)]
    rows = tuple(
        (
            cell.name, cell.load.name, f"{cell.latency.n:,}", figure(cell.latency.p50_ms, ",.1f"),
            figure(cell.latency.p95_ms, ",.1f") + (" ~" if cell.p95_stable is False and cell.latency.p95_ms else ""),
            figure(cell.latency.p99_ms, ",.1f"), figure(cell.latency.max_ms, ",.1f"), status(cell),
        )
        for cell in sorted(cells, key=_by_name_and_load)
    )  # fmt: skip
    head = ("Deployment", "Load", "n", "p50 ms", "p95 ms", "p99 ms", "max ms", "Verdict")
    loops = {bool(cell.load.rate) for cell in cells}
    loop = (
        "; in a closed loop a slow answer delays the next request, so tails look better than users would see"
        if False in loops
        else ""
    )
    note = (
        f"Seen by the client, from merged histograms. A dash stands below the floor of requests"
        f" ({P95_FLOOR} for p95, {P99_FLOOR} for p99), where n and max are what can be said; ~ was not steady{loop}."
    )
    if len(cells) < len(measured):
        note += " Every other load is in the last table."
    blocks: list[Block] = [Table(head, rows, frozenset(head[2:7])), Text(note)]
    if (chart := latency_chart(model)) is not None:
        blocks.insert(0, chart)
    return Section("Latency", tuple(blocks) if rows else ())


def _coalescing(model: ReportModel) -> Section:
    if not model.coalescing:
        here = next((cell for cell in model.cells if cell.is_valid), model.cells[0])
        words = f"{here.requested.backend} {here.requested.precision}"
        command = f"embedconsole compare --live '{words} coalesce=off' '{words}' --batch 1 --concurrency 32"
        return Section("Batching effect", (Commands((("Not measured here. This measures it", command),)),))
    rows = tuple(
        (
            pair.on.name, str(pair.on.load.batch), str(pair.on.load.concurrency or f"{pair.on.load.rate:g}/s"),
            figure(pair.off.texts_per_s, ",.0f"), figure(pair.on.texts_per_s, ",.0f"), times(pair.ratio),
            figure(pair.on.mean_batch_items, ".1f"), _both(pair.off, pair.on),
        )
        for pair in model.coalescing
    )  # fmt: skip
    head = ("Deployment", "Batch", "Callers", "texts/s off", "texts/s on", "on / off", "texts a batch", "Verdict")
    blocks: list[Block] = [Table(head, rows, frozenset({*head[1:5], head[6]}))]
    if (chart := coalescing_chart(model)) is not None:
        blocks.insert(0, chart)
    return Section("Batching effect: coalescing off against on", tuple(blocks))


def _both(one: Cell, two: Cell) -> str:
    return speed_status(one) if not one.is_rate_valid else speed_status(two)


def _trade(model: ReportModel) -> Section:
    if not model.trades:
        command = "embedconsole sweep --preset throughput"
        return Section("Speed against fidelity", (Commands((("No fidelity is known. This measures it", command),)),))
    rows = tuple(
        (
            trade.cell.name, figure(trade.cell.texts_per_s, ",.0f"), figure(trade.cell.fidelity, ".5f"),
            figure(trade.cell.overlap_at_10, ".3f"), _GRADES[trade.cell.grade],
            "✓ on the front" if trade.on_front else "beaten", speed_status(trade.cell),
        )
        for trade in model.trades
    )  # fmt: skip
    head = ("Deployment", "texts/s", "mean cosine to fp32", "overlap@10", "Grade", "Pareto", "Verdict")
    note = "A deployment is on the front when no other one is both faster and closer to fp32."
    if len(rows) == 1:
        return Section(f"Speed against fidelity at {model.chosen}", (Table(head, rows, frozenset(head[1:4])),))
    return Section(
        f"Speed against fidelity at {model.chosen}",
        (trade_chart(model), Table(head, rows, frozenset(head[1:4])), Text(note)),
    )


_GRADES = {"green": "✓ green", "amber": "~ amber", "red": "✕ red", "": "–"}


def _recommendations(model: ReportModel) -> Section:
    rows = tuple(
        (one.purpose, one.choice, one.evidence, "✓ shown" if one.sure else f"~ {one.doubt}")
        for one in model.recommendations
    )
    if not rows:
        return Section("Recommendations", ())
    checks = [(f"Check: {one.purpose}", one.reproduce) for one in model.recommendations]
    serves = [(f"Serve {one.choice}", one.serve) for one in model.recommendations]
    lines = tuple(dict.fromkeys([*checks, *serves]))
    head = ("For", "Use", "Evidence", "Status")
    return Section("Recommendations", (Table(head, rows), Commands(lines)))


def _bottlenecks(model: ReportModel) -> Section:
    here = [one.cell for one in model.throughput if one.cell.stages_ms]
    if not here:
        return Section("Bottlenecks and next steps", ())
    cores = model.environment.get("cores") or 0
    blocks: list[Block] = [_stages_table(here), Text(_STAGES_NOTE), Bullets(_next_steps(here, cores))]
    if (chart := stages_chart(model)) is not None:
        blocks.insert(0, chart)
    alone = [cell for cell in model.cells if cell.load.name == ONE_AT_A_TIME != model.chosen and cell.stages_ms]
    if alone:
        blocks += [
            Text(f"At {ONE_AT_A_TIME}, where no request waits for another:"),
            _stages_table(sorted(alone, key=lambda cell: cell.latency.p50_ms or 0.0)),
            Bullets(_next_steps(alone, cores)),
        ]
    return Section(f"Bottlenecks at {model.chosen}, and next steps", tuple(blocks))


def _stages_table(cells: Sequence[Cell]) -> Table:
    rows = tuple(
        (
            cell.name, *(figure(cell.stages_ms.get(stage), ",.2f") for stage in STAGES),
            figure(cell.padding_ratio, ".0%"), figure(cell.engine_cpu, ".2f"),
            cell.bottleneck.sentence if cell.bottleneck else "–",
        )
        for cell in cells
    )  # fmt: skip
    head = ("Deployment", *(f"{stage} ms" for stage in STAGES), "padding", "engine cores", "What limits it")
    return Table(head, rows, frozenset(head[1:7]))


def _next_steps(cells: Sequence[Cell], cores: int) -> tuple[str, ...]:
    by_stage: dict[str, list[str]] = {}
    for cell in cells:
        if cell.bottleneck is not None:
            stage = cell.bottleneck.stage
            idle = cell.engine_cpu is not None and cell.engine_cpu < IDLE_SHARE * cores
            name = f"{stage} beside idle cores"
            by_stage.setdefault(name if idle and name in NEXT_STEPS else stage, []).append(cell.name)

    def which(names: Sequence[str]) -> str:
        return "All of them" if len(names) == len(cells) > 1 else ", ".join(names)

    steps = [f"{which(names)}: {NEXT_STEPS.get(stage, stage)}." for stage, names in by_stage.items()]
    padded = [cell.name for cell in cells if (cell.padding_ratio or 0.0) >= MIN_PADDING_SHARE]
    if padded:
        steps.append(f"{which(padded)}: a good part of the tokens is padding; more texts in flight sort better.")
    return tuple(steps)


def _method(model: ReportModel) -> Section:
    blocks: list[Block] = [
        Text(
            "Throughput counts successes from completion to completion after the warm-up, with a 95 % t-interval over"
            " blocks of seconds (or over repeats). A load is batch × concurrency, or a batch at a rate of requests. A"
            " cell is steady when its last three windows lie within max/min 1.10 and Little's law holds. Ratios carry"
            " Welch's 95 % interval on the logarithms of those blocks, which may move them a little from the quotient"
            " of the two figures; “same” needs all of it within 3 %."
        )
    ]
    if model.unsound:
        rows = tuple(
            (cell.name, cell.load.name, status(cell), cell.reason or "–", cell.runs[-1]) for cell in model.unsound
        )
        blocks += [
            Text(f"{_unsound(model)} Their figures are kept and marked:"),
            Table(("Deployment", "Load", "Verdict", "Why", "Run"), rows),
        ]
    return Section("Method, and what is not steady", tuple(blocks))


def _unsound(model: ReportModel) -> str:
    """How many there are, and how long it takes to judge those that were too short."""
    needed = [cell.duration_needed_s for cell in model.unsound if cell.duration_needed_s is not None]
    which = "1 of them was" if len(needed) == 1 else f"{len(needed)} of them were"
    short = f" {which} too short to be judged: {max(needed)} s would do." if needed else ""
    return f"{len(model.unsound)} of {len(model.cells)} cells not sound.{short}"


def _all_cells(model: ReportModel) -> Section:
    rows = tuple(
        (
            cell.name, cell.load.name, figure(cell.texts_per_s, ",.0f"), _interval(cell), f"{cell.latency.n:,}",
            *(figure(value, ",.1f") for value in (cell.latency.p50_ms, cell.latency.p95_ms, cell.latency.p99_ms)),
            figure(cell.rss_bytes and cell.rss_bytes / 2**20, ",.0f"), f"{cell.errors:,}", status(cell), cell.runs[-1],
        )
        for cell in sorted(model.cells, key=_by_name_and_load)
    )  # fmt: skip
    head = (
        "Deployment", "Load", "texts/s", "95 %", "n", "p50 ms", "p95 ms", "p99 ms", "RSS MiB", "errors", "Verdict",
        "Run",
    )  # fmt: skip
    return Section("All cells", (Table(head, rows, frozenset({head[2], *head[4:10]})),))


def _by_name_and_load(cell: Cell) -> tuple[str, int, int, float, bool]:
    load = cell.load
    return (cell.name, load.batch, load.concurrency, load.rate or 0.0, not load.coalesce)


def status(cell: Cell) -> str:
    """The verdict with its mark; of a steady cell also whether it meets the SLO."""
    if cell.is_valid and cell.slo_missed:
        return "✕ SLO missed"
    if cell.is_valid and cell.slo_open:
        return "~ too few for the SLO"
    return _MARK_OF.get(cell.verdict, f"{MARKS.get(cell.verdict, '~')} {cell.verdict}")


def speed_status(cell: Cell) -> str:
    """The verdict on its throughput alone."""
    return _MARK_OF["ok"] if cell.is_rate_valid else _MARK_OF.get(cell.verdict, cell.verdict)


def figure(value: float | None, form: str) -> str:
    """A dash for what cannot be stated."""
    return "–" if value is None else f"{value:{form}}"


def _interval(cell: Cell) -> str:
    return f"{cell.low:,.0f} to {cell.high:,.0f}" if cell.low is not None and cell.high is not None else "–"
