"""A report as an answer and sections, which the renderers of HTML and Markdown format. Pure functions."""

from typing import TYPE_CHECKING

from console.model.engine import PLAIN
from console.report.answer import HIGH
from console.report.blocks import Block, Bullets, Commands, Document, Headline, Section, Table, Terms, Text
from console.report.bottlenecks import bottlenecks
from console.report.fidelity import AMBER, GREEN
from console.report.figures import has_shared_rss
from console.report.measured import all_cells, coalescing, fidelity, latency, throughput
from console.report.model import ReportModel
from console.report.platform import environment, limits
from console.report.rows import deployment_flags

if TYPE_CHECKING:
    from console.report.recommend import Recommendation

_MARKS = "✓: steady, met or proved. ~: not steady or not proved. ✕: failed or missed. –: not known."
_HIGH_IF = "every run behind the number was long enough and steady, and the interval of a ratio excludes 1"
_VERDICTS = (
    "Verdict: ok; too short; unstable, not steady; errors, over 0.1 % of the requests failed; client bound, limited by"
    " the load generator; failed."
    " Steady: the last three windows of a run agree within 10 %, and requests in flight match rate × latency; a"
    " window is a second and 50 requests at least."
)
_PERCENTILES = Terms((("p50, p95, p99", "50, 95 and 99 % of the n requests were answered within this time."),))
_TOLD_ELSEWHERE = frozenset({"throughput", "latency", "coalescing", "fallbacks"})
"""Topics of the summary that the answer, the recommendations or a finding state in full."""


def document(model: ReportModel) -> Document:
    """Returns the answer, every section for which there is data, and a last one that lists what is not covered."""
    answer, runs = model.answer, sum(len(row.runs) for row in model.rows)
    counts = f"{_counted(len(model.rows), 'cell')} from {_counted(runs, 'run')}"
    if superseded := model.runs_given - runs:
        counts += f" ({superseded} more failed or were interrupted, and were measured again)"
    lead = f"{counts}, measured {_when(model)}; {', '.join(model.sources)}."
    confidence = f"{'✓' if answer.confidence == HIGH else '~'} {answer.confidence} confidence"
    headline = Headline(answer.sentence, answer.number, answer.about, confidence)
    sections = (
        _findings(model), _recommendations(model), throughput(model), latency(model), coalescing(model),
        fidelity(model), bottlenecks(model), limits(model), all_cells(model), environment(model), _method(),
        _not_covered(model),
    )  # fmt: skip
    kept = tuple(one for one in sections if one.blocks)
    return Document(model.heading, headline, lead, (_commands(model), _terms(model)), kept)


def _when(model: ReportModel) -> str:
    """`2026-11-23 10:00 to 10:24 UTC`"""
    (day, first), (last_day, last) = (at[:16].split("T") for at in (model.first_run_at, model.last_run_at))
    if (day, first) == (last_day, last):
        return f"{day} {first} UTC"
    return f"{day} {first} to {last if day == last_day else f'{last_day} {last}'} UTC"


def _counted(count: int, what: str) -> str:
    return f"one {what}" if count == 1 else f"{count} {what}s"


def _commands(model: ReportModel) -> Commands:
    """The commands that measured the runs, and those that serve and check the answer."""
    measured = [("Measured with", command) for command in model.made_by]
    serve = [("Serve it", model.answer.serve)] if model.answer.serve else []
    return Commands((*measured, *serve, ("Check it", model.answer.check)))


def _terms(model: ReportModel) -> Terms:
    """Defines the words of the answer and of the lead."""
    load = model.answer.rows[0].load if model.answer.rows else model.rows[0].load
    texts = _counted(load.batch, "text")
    pace = f"{load.rate:g} requests a second are sent" if load.rate else f"{load.concurrency} requests are always open"
    terms = [
        (
            "Deployment",
            (
                "a runtime (ONNX Runtime, OpenVINO, PyTorch), the number format of the model (fp32 is full precision,"
                " int8 has 8 bits) and, in parentheses, how the model was converted to it."
            ),
        ),
        ("Load", f"{load.title} means that a request holds {texts} and {pace}."),
        ("Cell", "one deployment at one load."),
        ("Throughput", "texts embedded per second."),
        (
            "Cosine",
            (
                f"mean cosine similarity to the vectors of fp32; 1 is the same, green from {GREEN[0]:g}, amber from"
                f" {AMBER[0]:g}, red below."
            ),
        ),
        ("95 % interval", "the range that holds the true value in 95 of 100 such measurements."),
        ("Confidence", f"high if {_HIGH_IF}; medium if only a run was not steady; else low."),
    ]
    return Terms(tuple(terms))


def _findings(model: ReportModel) -> Section:
    lines = tuple(
        (one.question, one.answer, f"{one.mark} {one.words}")
        for one in model.summary
        if one.topic not in _TOLD_ELSEWHERE
    )
    blocks: list[Block] = [Table(("Question", "Answer", "Status"), lines)]
    blocks += [Bullets(model.findings)] if model.findings else []
    ends = " At the end of a sentence, ~ says that one of its figures was not steady." if model.findings else ""
    return Section("Findings", (*blocks, Text(f"{_VERDICTS} {_MARKS}{ends}")))


def _recommendations(model: ReportModel) -> Section:
    """Returns the recommendations that the answer does not give, those of the same cell and result in one line."""
    groups: dict[tuple[str, str, str], list[Recommendation]] = {}
    for one in model.recommendations:
        if model.answer.serve and one.row is model.answer.rows[0] and "throughput" in one.purpose:
            continue
        groups.setdefault((one.row.runs[-1], one.result, one.compared), []).append(one)
    if not groups:
        return Section("Recommendations", ())
    lines = tuple(
        (
            "; ".join(one.purpose for one in group), first.row.title, first.row.load.title, result, compared or "–",
            "✓ proved" if first.sure else f"~ {first.doubt}", run_id,
        )
        for (run_id, result, compared), group in groups.items()
        for first in group[:1]
    )  # fmt: skip
    head = ("For", "Use", "Load", "Result", "Against the next best", "Status", "Run")
    firsts = [group[0] for group in groups.values()]
    commands = [(f"Check: {one.purpose}", one.reproduce) for one in firsts]
    commands += [(f"Serve {one.row.title}", one.serve) for one in firsts if one.serve != model.answer.serve]
    return Section("Recommendations", (Table(head, lines), _PERCENTILES, Commands(tuple(dict.fromkeys(commands)))))


def _method() -> Section:
    return Section("Method", (
        Text(
            "Throughput counts successful texts from completion to completion after the warm-up, with a 95 % t-interval"
            " over blocks of seconds (or over repeats). A run is steady if its last three windows lie within max/min"
            " 1.10 and Little's law holds. A ratio is computed with Welch's 95 % interval on the logarithms of those"
            " blocks, so it may differ slightly from the quotient of the two figures; “same” means that the whole"
            " interval lies within 3 %."
        ),
    ))  # fmt: skip


def _not_covered(model: ReportModel) -> Section:
    """Returns what these runs do not show, each with the command that measures it."""
    here = model.answer.rows[0] if model.answer.rows else model.rows[0]
    asked = here.requested
    flags = " ".join(deployment_flags(asked))
    live = f"{asked.backend} {asked.precision}" + (
        f" recipe={asked.recipe}" if asked.recipe and asked.recipe != PLAIN else ""
    )
    at_the_load = [one.row for one in model.throughput]
    missing = (
        (
            len(at_the_load) < 2, "Comparison with another deployment",
            f"embedconsole compare --live '{live}' 'openvino int8' --batch {here.load.batch}",
        ),
        (
            not any((row.load.batch, row.load.concurrency) == (1, 1) for row in model.rows),
            "Latency of a single text", f"embedconsole run {flags} --batch 1 --concurrency 1 --duration auto",
        ),
        (
            not model.coalescing, "Effect of coalescing (texts of several requests in one batch)",
            f"embedconsole compare --live '{live} coalesce=off' '{live}' --batch 1 --concurrency 32",
        ),
        (
            model.slo_p95_ms is None, "Highest rate within a latency target",
            f"embedconsole max-load {flags} --batch 1 --slo-p95 50",
        ),
        (not model.trades, "Fidelity to fp32", "embedconsole sweep --preset throughput"),
        (
            len(at_the_load) > 1 and any(map(has_shared_rss, at_the_load)),
            "Memory of a deployment in an engine process of its own: run this for each",
            here.command,
        ),
        (not any(row.stages_ms for row in at_the_load), "Time in each stage of the engine", here.command),
        (not model.capabilities, "Capability matrix", "engine capabilities"),
    )  # fmt: skip
    lines = tuple((what, " ".join(command.split())) for applies, what, command in missing if applies)
    return Section("Not covered", (Text("To measure what these runs do not show:"), Commands(lines)) if lines else ())
