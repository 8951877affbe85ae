"""The section of a report on what limits each deployment, and what to do about it. Pure functions."""

from collections.abc import Mapping, Sequence

from console.analysis.bottleneck import MIN_PADDING_SHARE
from console.report.blocks import Block, Bullets, Section, Table, Terms
from console.report.charts import stages_chart
from console.report.figures import ONE_AT_A_TIME, figure
from console.report.model import ReportModel
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
_TERMS = Terms(
    (
        (
            "Queue, tokenize, infer, serialize",
            (
                "waiting for the model, text to token ids, the model's forward pass, vectors to bytes. Each is the mean"
                " over requests of the longest time of a request's texts in it. The texts of a request may go into"
                " several batches, one of which waits while another runs, so the stages may add up to more than the"
                " latency."
            ),
        ),
        ("Padding", "tokens that only fill up shorter texts of a batch, as a share of all."),
    )
)
IDLE_SHARE = 0.6
"""Share of the cores below which the engine is not limited by them; a rule."""


def bottlenecks(model: ReportModel) -> Section:
    """Returns the time of a request in each stage at the chosen load and of one text at a time, and next steps."""
    here = [one.row for one in model.throughput if one.row.stages_ms]
    alone = [row for row in model.rows if row.load.name == ONE_AT_A_TIME != model.chosen and row.stages_ms]
    rows = [*here, *sorted(alone, key=lambda row: row.latency.p50_ms or 0.0)]
    if not rows:
        return Section("Bottlenecks and next steps", ())
    steps = _next_steps(rows, model.environment.get("cores") or 0)
    blocks: tuple[Block, ...] = (_stages_table(rows), *([Bullets(steps)] if steps else []), _TERMS)
    chart = stages_chart(model)
    return Section("Bottlenecks and next steps", blocks if chart is None else (chart, *blocks))


def _stages_table(rows: Sequence[ReportRow]) -> Table:
    lines = tuple(
        (
            row.title, row.load.title, *(figure(row.stages_ms.get(stage), ",.2f") for stage in STAGES),
            figure(row.padding_ratio, ".0%"), row.bottleneck.sentence if row.bottleneck else "–",
        )
        for row in rows
    )  # fmt: skip
    head = ("Deployment", "Load", *(f"{stage} ms" for stage in STAGES), "padding", "Bottleneck")
    return Table(head, lines, frozenset(head[2:7]))


def _next_steps(rows: Sequence[ReportRow], cores: int) -> tuple[str, ...]:
    """Returns each next step once, with the rows that it is for."""
    by_stage: dict[str, list[ReportRow]] = {}
    for row in rows:
        if row.bottleneck is not None:
            stage = row.bottleneck.stage
            idle = row.engine_cpu is not None and row.engine_cpu < IDLE_SHARE * cores
            name = f"{stage} beside idle cores"
            by_stage.setdefault(name if idle and name in NEXT_STEPS else stage, []).append(row)
    steps = [f"{_which(mine, rows)}: {NEXT_STEPS.get(stage, stage)}." for stage, mine in by_stage.items()]
    padded = [row for row in rows if (row.padding_ratio or 0.0) >= MIN_PADDING_SHARE]
    if padded:
        steps.append(
            f"{_which(padded, rows)}: {MIN_PADDING_SHARE:.0%} or more of the tokens is padding; with more texts in"
            " flight the engine batches texts of similar length."
        )
    return tuple(steps)


def _which(some: Sequence[ReportRow], rows: Sequence[ReportRow]) -> str:
    """`All`, `All at batch 1, 1 in flight`, or the name of each row with its load."""
    if len(some) == len(rows):
        return "All" if len(rows) > 1 else rows[0].title
    parts = []
    for load in dict.fromkeys(row.load.title for row in some):
        mine = [row for row in some if row.load.title == load]
        is_all = len(mine) > 1 and len(mine) == sum(row.load.title == load for row in rows)
        parts.append(f"{'all' if is_all else ', '.join(row.title for row in mine)} at {load}")
    words = "; ".join(parts)
    return words[0].upper() + words[1:]
