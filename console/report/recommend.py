"""The recommendations of a report: one for each purpose that was measured, with evidence and commands. Pure functions.

A lead is proved if its confidence interval excludes 1; otherwise the recommendation states its doubt.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.model.engine import PLAIN
from console.report.findings import best_of, latency_text, quickness, speed, speed_text, times
from console.report.rows import ReportRow, deployment_flags

_CLEAR_MEMORY_LEAD = 0.9
"""Largest ratio of two RSS values that proves a lead; a rule, because an RSS has no interval."""
_MANY_CALLERS = 8
"""Concurrency from which a load counts as many callers."""
_CHECK_ROUNDS = "10"
"""Rounds of the command that verifies a recommendation."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The deployment to use for a purpose, the evidence, and the commands that verify and serve it."""

    purpose: str
    choice: str
    evidence: str
    doubt: str
    """Why the lead is not proved; empty if it is."""
    reproduce: str
    serve: str
    row: ReportRow
    """The row that the recommendation stands on."""
    result: str
    """Its figure for the purpose."""
    compared: str
    """How it compares with the next best; empty if nothing else was measured at its load."""

    @property
    def sure(self) -> bool:
        return not self.doubt


@dataclass(frozen=True, slots=True)
class _Purpose:
    """A purpose: the rows that compete, the value to maximise, and the judgement of the best row against the second."""

    words: str
    among: Sequence[ReportRow]
    value: Callable[[ReportRow], float]
    judge: Callable[[ReportRow, ReportRow], tuple[bool, str]]
    figure: Callable[[ReportRow], str] = speed_text
    by_memory: bool = False
    under_slo: bool = False


def recommend(
    rows: Sequence[ReportRow], here: Sequence[ReportRow], slo_p95_ms: float | None
) -> tuple[Recommendation, ...]:
    """Returns a recommendation for each purpose with a candidate. `here` holds the rows at the chosen load."""
    return tuple(
        _recommendation(purpose, best)
        for purpose in _purposes(rows, here, slo_p95_ms)
        if (best := best_of(purpose.among, purpose.value)) is not None
    )


def _purposes(rows: Sequence[ReportRow], here: Sequence[ReportRow], slo_p95_ms: float | None) -> list[_Purpose]:
    closed = [row for row in rows if row.load.coalesce and not row.load.rate]
    single = [row for row in closed if (row.load.batch, row.load.concurrency) == (1, 1)]
    many = [row for row in closed if row.load.batch == 1 and row.load.concurrency >= _MANY_CALLERS]
    purposes = []
    if slo_p95_ms is not None:
        met = [row for row in rows if row.latency.p95_ms is not None and row.latency.p95_ms <= slo_p95_ms]
        purposes.append(
            _Purpose(f"Highest throughput with p95 ≤ {slo_p95_ms:g} ms", met, speed, _by_speed, under_slo=True)
        )
    purposes.append(_Purpose("Highest throughput", closed, speed, _by_speed))
    fastest = best_of(closed, speed)
    if fastest is not None and fastest.grade == "amber":
        green = [row for row in closed if row.grade == "green"]
        purposes.append(_Purpose("Highest throughput with green fidelity", green, speed, _by_speed))
    return [
        *purposes,
        _Purpose("Lowest single-text latency", single, quickness, _by_latency, latency_text),
        _Purpose("Many callers with one text each", many, speed, _by_speed),
        _Purpose("Least memory", _alone_in_process(here), _negative_rss, _by_memory, _rss_text, by_memory=True),
    ]


def _alone_in_process(here: Sequence[ReportRow]) -> Sequence[ReportRow]:
    """Returns the rows with an RSS; none if one of them was measured in a process that had served others before."""
    known = [row for row in here if row.rss_bytes]
    return [] if any(row.rss_shared_process for row in known) else known


def _negative_rss(row: ReportRow) -> float:
    return -float(row.rss_bytes or 0)


def _recommendation(purpose: _Purpose, best: ReportRow) -> Recommendation:
    rivals = [
        row
        for row in purpose.among
        if row.name != best.name and row.load == best.load and row.may_be_recommended and row.texts_per_s
    ]
    second = max(rivals, key=purpose.value, default=None)
    if second is None:
        proved, reason = False, f"the only deployment measured at {best.load.title}"
    else:
        proved, reason = purpose.judge(best, second)
    compared = reason if second is not None else ""
    evidence = f"{_facts(best)} at {best.load.title} (run {best.runs[-1]}); {reason}"
    verdict = best.verdict.replace("_", " ")
    if not best.is_rate_valid:
        evidence += f"; {verdict}: {best.reason}"
    unsteady_p95 = purpose.under_slo and best.p95_stable is False
    doubts = (
        (not best.is_rate_valid, verdict), (unsteady_p95, "p95 not steady"),
        (second is None, "no other deployment measured"), (not proved, "not proved"),
    )  # fmt: skip
    return Recommendation(
        purpose=purpose.words,
        choice=best.name,
        evidence=evidence,
        doubt=next((words for applies, words in doubts if applies), ""),
        reproduce=best.command if second is None or purpose.by_memory else check_command(best, second),
        serve=serve_command(best),
        row=best,
        result=purpose.figure(best),
        compared=compared,
    )


def _facts(row: ReportRow) -> str:
    facts = [speed_text(row), latency_text(row)]
    if row.fidelity is not None:
        facts.append(f"mean cosine {row.fidelity:.4f} ({row.grade})")
    if row.rss_bytes:
        facts.append(_rss_text(row))
    return ", ".join(facts)


def _rss_text(row: ReportRow) -> str:
    return f"RSS {(row.rss_bytes or 0) / 2**20:,.0f} MiB" + (" (shared process)" if row.rss_shared_process else "")


def _by_speed(best: ReportRow, second: ReportRow) -> tuple[bool, str]:
    ratio = best.over(second)
    proved = ratio is not None and ratio.verdict == "more"
    unsteady = "" if second.is_rate_valid else " (not steady)"
    return proved, f"{'ahead of' if proved else 'not proved ahead of'} {second.title}{unsteady}: {times(ratio)}"


def _by_latency(best: ReportRow, second: ReportRow) -> tuple[bool, str]:
    """Compares mean latencies: with one caller in a closed loop, mean latency is the inverse of the response rate."""
    ratio = second.over(best)
    proved = ratio is not None and ratio.verdict == "less"
    text = f"its mean latency is {times(ratio, f'that of {second.title}')}"
    return proved, text if proved else f"{text}: not proved lower"


def _by_memory(best: ReportRow, second: ReportRow) -> tuple[bool, str]:
    mine, other = best.rss_bytes or 0, second.rss_bytes or 0
    return mine <= _CLEAR_MEMORY_LEAD * other, f"next is {second.title} with {other / 2**20:,.0f} MiB"


def serve_command(row: ReportRow) -> str:
    """The command that starts an engine with the row's deployment."""
    return shlex.join(["engine", "serve", *deployment_flags(row.requested)])


def check_command(best: ReportRow, second: ReportRow) -> str:
    """The command that compares the two under the load of `best`, in alternation on one engine."""
    return shlex.join([
        "embedconsole", "compare", "--live", _live_deployment(second), _live_deployment(best), *best.load.flags,
        "--rounds", _CHECK_ROUNDS,
    ])  # fmt: skip


def _live_deployment(row: ReportRow) -> str:
    """`onnx int8 recipe=smoothed`: a deployment in the syntax of `compare --live`."""
    asked = row.requested
    recipe = f" recipe={asked.recipe}" if asked.recipe and asked.recipe != PLAIN else ""
    coalesce = "" if row.load.coalesce else " coalesce=off"
    return f"{asked.backend} {asked.precision}{recipe}{coalesce}"
