"""The summary and the findings of a report. Pure functions.

Sentences are computed; each figure in a sentence belongs to the row named beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.analysis.ratios import Ratio
from console.model.load import P95_FLOOR
from console.report.rows import Coalescing, ReportRow, deployment_title

OK, UNSURE, BAD = "✓", "~", "✕"
_MOST_NAMED = 3
"""Deployments that one sentence names."""
_MOST_PRECISIONS = 6
"""Findings that compare a precision with fp32."""


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One question and its answer. `mark` is ✓, ~ or ✕; `words` is its meaning."""

    question: str
    answer: str
    mark: str
    words: str
    topic: str
    """validity, throughput, latency, coalescing, fidelity, fallbacks, slo or errors."""


def speed_text(row: ReportRow) -> str:
    """`1,280 texts/s (1,250 to 1,310)`"""
    if row.texts_per_s is None:
        return "no throughput"
    interval = f" ({row.low:,.0f} to {row.high:,.0f})" if row.low is not None and row.high is not None else ""
    return f"{row.texts_per_s:,.0f} texts/s{interval}"


def latency_text(row: ReportRow) -> str:
    """`p50 4.8 ms, p95 6.7 ms (n=2,100)`; the maximum instead of p95 if there are too few requests for one."""
    latency = row.latency
    p50 = f"p50 {latency.p50_ms:,.1f} ms, " if latency.p50_ms is not None else ""
    if latency.p95_ms is not None:
        unsteady = ", p95 not steady" if row.p95_stable is False else ""
        return f"{p50}p95 {latency.p95_ms:,.1f} ms (n={latency.n:,}{unsteady})"
    most = f", max {latency.max_ms:,.1f} ms" if latency.max_ms is not None else ""
    return f"{p50}no p95 (n={latency.n:,}, it needs {P95_FLOOR}){most}"


def times(ratio: Ratio | None, of: str = "") -> str:
    """`1.42 × torch·fp32 (1.38 to 1.46)`, or `1.42 × torch·fp32 (no interval)`."""
    if ratio is None:
        return "an unknown ratio" + (f" to {of}" if of else "")
    interval = "no interval" if ratio.low is None or ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"
    return " ".join(part for part in (f"{ratio.value:.2f} ×", of, f"({interval})") if part)


def best_of(rows: Sequence[ReportRow], value: Callable[[ReportRow], float]) -> ReportRow | None:
    """Returns the row with the highest value among those that may be recommended and did not fail.

    An unsteady row is eligible; the sentence that names it marks it.
    """
    return max((row for row in rows if row.texts_per_s and row.may_be_recommended and row.verdict != "failed"),
               key=value, default=None)  # fmt: skip


def _mark(row: ReportRow) -> tuple[str, str]:
    """The mark and its meaning for a row's throughput or mean latency."""
    return (OK, "steady") if row.is_rate_valid else (UNSURE, row.verdict.replace("_", " "))


def speed(row: ReportRow) -> float:
    return row.texts_per_s or 0.0


def quickness(row: ReportRow) -> float:
    """Negative p50. p95 is not used, since not every row has one and an order must compare the same figure."""
    return -(row.latency.p50_ms or float("inf"))


def summarise(
    rows: Sequence[ReportRow],
    here: Sequence[ReportRow],
    base: ReportRow | None,
    coalescing: Sequence[Coalescing],
    slo_p95_ms: float | None,
) -> tuple[SummaryRow, ...]:
    """Returns the executive summary. `here` holds the rows at the chosen load."""
    answers = [_validity(rows)]
    if (fastest := best_of(here, speed)) is not None and not fastest.load.rate:
        mark, words = _mark(fastest)
        ratio = fastest.over(base) if base is not None and base is not fastest else None
        more = f", {times(ratio, base.title)}" if ratio is not None and base is not None else ""
        answer = f"{fastest.title}: {speed_text(fastest)}{more}"
        answers.append(SummaryRow(f"Highest throughput at {fastest.load.title}", answer, mark, words, "throughput"))
    at_a_rate = [row for row in here if row.load.rate]
    if (quickest := best_of(at_a_rate, quickness)) is not None:
        answer = f"{quickest.title}: {latency_text(quickest)}"
        answers.append(SummaryRow(f"Lowest latency at {quickest.load.title}", answer, *_mark(quickest), "latency"))
    single = [
        row
        for row in rows
        if (row.load.batch, row.load.concurrency) == (1, 1) and row.load.coalesce and not row.load.rate
    ]
    if (quickest := best_of(single, quickness)) is not None:
        answer = f"{quickest.title}: {latency_text(quickest)}"
        answers.append(SummaryRow("Lowest single-text latency", answer, *_mark(quickest), "latency"))
    if coalescing:
        answers.append(_coalescing_row(coalescing))
    answers += _fidelity_rows(rows)
    fell = list(dict.fromkeys(row.title for row in rows if row.fell_back))
    if fell:
        answers.append(SummaryRow("Fallbacks", _listed(fell), UNSURE, "fell back", "fallbacks"))
    if slo_p95_ms is not None:
        answers.append(_slo(rows, slo_p95_ms))
    errors = sum(row.errors for row in rows)
    failed = f"{errors:,} failed requests" if errors else "no failed request"
    answers.append(SummaryRow("Errors", failed, BAD if errors else OK, "errors" if errors else "none", "errors"))
    return tuple(answers)


def _validity(rows: Sequence[ReportRow]) -> SummaryRow:
    valid = sum(row.is_valid for row in rows)
    failed = sum(row.verdict == "failed" for row in rows)
    bound = sum(row.verdict == "client_bound" for row in rows)
    with_errors = sum(row.verdict == "errors" for row in rows)
    rate_valid = sum(row.is_rate_valid for row in rows)
    parts = [f"{valid} of {len(rows)} cells {'is' if valid == 1 else 'are'} steady"]
    parts += [f"{rate_valid} in throughput"] if rate_valid > valid else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{with_errors} with errors"] if with_errors else []
    parts += [f"{bound} limited by the load generator"] if bound else []
    mark = OK if valid == len(rows) else UNSURE if valid else BAD
    words = {
        OK: "all valid",
        UNSURE: "marked figures are provisional" if 2 * valid >= len(rows) else "most are not: measure longer",
        BAD: "nothing is steady: all figures are provisional",
    }
    return SummaryRow("Can the figures be trusted", ", ".join(parts), mark, words[mark], "validity")


def _coalescing_row(pairs: Sequence[Coalescing]) -> SummaryRow:
    most = max(pairs, key=lambda pair: pair.ratio.value if pair.ratio else 0.0)
    answer = f"{most.on.title} at {most.on.load.title}: {times(most.ratio, 'the throughput')}"
    words = {"more": "faster", "less": "slower", "same": "no difference"}.get(
        most.ratio.verdict if most.ratio else "", "inconclusive"
    )
    if not (most.on.is_rate_valid and most.off.is_rate_valid):
        return SummaryRow("Effect of coalescing", answer, UNSURE, "not steady", "coalescing")
    return SummaryRow("Effect of coalescing", answer, UNSURE if words == "inconclusive" else OK, words, "coalescing")


def _fidelity_rows(rows: Sequence[ReportRow]) -> list[SummaryRow]:
    known = {row.title: row for row in rows if row.fidelity is not None}
    if not known:
        return []
    graded = {grade: [name for name, row in known.items() if row.grade == grade] for grade in ("red", "amber")}
    lowest = min(known.values(), key=lambda row: row.fidelity or 0.0)
    answer = f"lowest mean cosine to fp32: {lowest.fidelity:.4f} ({lowest.title})"
    if red := graded["red"]:
        return [SummaryRow("Fidelity", answer, BAD, f"red, not recommended: {_listed(red)}", "fidelity")]
    if amber := graded["amber"]:
        return [SummaryRow("Fidelity", answer, UNSURE, f"amber: {_listed(amber)}", "fidelity")]
    return [SummaryRow("Fidelity", answer, OK, "all green", "fidelity")]


def _slo(rows: Sequence[ReportRow], slo_p95_ms: float) -> SummaryRow:
    judged = [row for row in rows if row.latency.p95_ms is not None and row.is_valid]
    if not judged and (carried := best_of([row for row in rows if _late_but_met(row, slo_p95_ms)], speed)):
        answer = (
            f"p95 ≤ {slo_p95_ms:g} ms holds up to {carried.load.title} with {carried.title}: {latency_text(carried)}"
        )
        return SummaryRow("SLO", answer, UNSURE, "met even with requests sent late", "slo")
    if not judged:
        answer = f"no steady cell has a p95 to compare with {slo_p95_ms:g} ms: measure longer or on a quieter machine"
        return SummaryRow("SLO", answer, UNSURE, "cannot be judged", "slo")
    met = [row for row in judged if (row.latency.p95_ms or 0.0) <= slo_p95_ms]
    unjudged = f" ({len(rows) - len(judged)} more cannot be judged)" if len(judged) < len(rows) else ""
    answer = f"{len(met)} of {len(judged)} cells meet p95 ≤ {slo_p95_ms:g} ms{unjudged}"
    return SummaryRow("SLO", answer, OK if met else BAD, "met" if met else "not met", "slo")


def _late_but_met(row: ReportRow, slo_p95_ms: float) -> bool:
    """Whether p95 meets the SLO although requests were sent late: in an open loop, late sends only add latency."""
    late = bool(row.load.rate) and row.verdict == "client_bound"
    return late and row.latency.p95_ms is not None and row.latency.p95_ms <= slo_p95_ms


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{shown} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown


# ---- findings


Pair = frozenset[str]
"""The names of two rows that are compared."""


def findings_of(
    rows: Sequence[ReportRow],
    here: Sequence[ReportRow],
    coalescing: Sequence[Coalescing],
    answered: Sequence[ReportRow] = (),
) -> tuple[str, ...]:
    """Returns the findings as sentences, the most important first. `here` holds the rows at the chosen load.

    `answered`: the rows that the report's answer compares, which no finding compares again.
    """
    closed = [row for row in here if not row.load.rate]  # at a rate, throughput is what was sent
    stated = {frozenset(row.name for row in answered)}
    return (
        *_lead(closed, stated),
        *_precisions(closed, stated),
        *_coalesced(coalescing),
        *_scaling(rows),
        *_fallbacks(rows),
    )


def _lead(here: Sequence[ReportRow], stated: set[Pair]) -> list[str]:
    """Compares the two fastest rows that may be recommended. Adds them to `stated`."""
    ordered = sorted(
        (row for row in here if row.may_be_recommended and row.verdict != "failed"), key=speed, reverse=True
    )
    if len(ordered) < 2:
        return []
    first, second = ordered[:2]
    if (pair := frozenset((first.name, second.name))) in stated:
        return []
    stated.add(pair)
    ratio = first.over(second)
    proved = "ahead of" if ratio is not None and ratio.verdict == "more" else "not proved ahead of"
    sentence = f"{first.title} is {proved} the next fastest at {first.load.title}, {second.title}: {times(ratio)}"
    return [f"{sentence}{_unsteady_mark(first, second)}"]


def _precisions(here: Sequence[ReportRow], stated: set[Pair]) -> list[str]:
    """Compares each precision with fp32 of the same backend, unless the pair is in `stated`."""
    ranked = []
    for fp32 in here:
        if fp32.effective.precision != "fp32" or fp32.fell_back:
            continue
        for row in here:
            ran = row.effective
            if row is fp32 or ran.backend != fp32.effective.backend or ran.precision == "fp32":
                continue
            if frozenset((row.name, fp32.name)) in stated:
                continue
            ratio = row.over(fp32)
            word = {"more": "faster than", "less": "slower than", "same": "as fast as"}.get(
                ratio.verdict if ratio else "", "not proved faster or slower than"
            )
            sentence = f"{row.title} is {word} {fp32.title} at {row.load.title}: {times(ratio)}"
            sentence += f"{_cosine_text(row)}{_unsteady_mark(row, fp32)}"
            ranked.append((ratio.value if ratio is not None else 0.0, sentence))
    return [sentence for _, sentence in sorted(ranked, reverse=True)[:_MOST_PRECISIONS]]


def _cosine_text(row: ReportRow) -> str:
    return f", at a mean cosine of {row.fidelity:.4f} ({row.grade})" if row.fidelity is not None else ""


def _unsteady_mark(*rows: ReportRow) -> str:
    """The mark of a sentence that uses unsteady figures."""
    return "" if all(row.is_rate_valid for row in rows) else " ~"


def _coalesced(pairs: Sequence[Coalescing]) -> list[str]:
    sentences = []
    for name in dict.fromkeys(pair.on.name for pair in pairs):
        mine = [pair for pair in pairs if pair.on.name == name and pair.ratio is not None]
        if not mine:
            continue
        most = max(mine, key=lambda pair: pair.ratio.value if pair.ratio else 0.0)
        least = min(mine, key=lambda pair: pair.on.load.concurrency)
        items = most.on.mean_batch_items
        batches = f", in batches of {items:.1f} texts on average" if items else ""
        few = f", and {times(least.ratio)} at {least.on.load.title}" if least is not most else ""
        unsteady = _unsteady_mark(most.on, most.off, least.on, least.off)
        gain = f"{times(most.ratio, 'the throughput')} at {most.on.load.title}"
        sentences.append(f"Coalescing gives {most.on.title} {gain}{batches}{few}{unsteady}")
    return sentences


def _scaling(rows: Sequence[ReportRow]) -> list[str]:
    """States the throughput of the fastest deployments at 1 × 1 and at their best load."""
    pairs: list[tuple[ReportRow, ReportRow]] = []
    for name in dict.fromkeys(row.name for row in rows):
        mine = [row for row in rows if row.name == name and row.texts_per_s and not row.load.rate and row.load.coalesce]
        one = next((row for row in mine if (row.load.batch, row.load.concurrency) == (1, 1)), None)
        most = max(mine, key=speed, default=None)
        if one is not None and most is not None and most is not one:
            pairs.append((one, most))
    pairs.sort(key=lambda pair: -speed(pair[1]))
    shown = pairs[:_MOST_NAMED]
    parts = [
        f"{one.title} from {one.texts_per_s:,.0f} to {most.texts_per_s:,.0f} texts/s at {most.load.title}"
        for one, most in shown
    ]
    unsteady = _unsteady_mark(*(row for pair in shown for row in pair))
    return [f"From one text at a time to the best load: {'; '.join(parts)}{unsteady}"] if parts else []


def _fallbacks(rows: Sequence[ReportRow]) -> list[str]:
    sentences: dict[str, str] = {}
    for row in rows:
        if row.fell_back:
            why = row.warnings[0] if row.warnings else "the engine gave no reason"
            asked, ran = deployment_title(row.requested), deployment_title(row.effective)
            sentences.setdefault(row.name, f"{asked} was requested, {ran} ran: {why}")
    return list(sentences.values())
