"""What the cells of a report amount to: the summary and the findings. Pure.

Sentences are computed; a figure in one is always that of a cell that is named beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.analysis.ratios import Ratio
from console.model.load import P95_FLOOR
from console.report.cells import Cell, Coalescing

OK, UNSURE, BAD = "✓", "~", "✕"
_MOST_NAMED = 3
_MOST_PRECISIONS = 6


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One question and its answer. `mark` is ✓, ~ or ✕, `words` say what it means."""

    question: str
    answer: str
    mark: str
    words: str


def speed_text(cell: Cell) -> str:
    """`1,280 texts/s (1,250 to 1,310)`"""
    if cell.texts_per_s is None:
        return "no throughput"
    interval = f" ({cell.low:,.0f} to {cell.high:,.0f})" if cell.low is not None and cell.high is not None else ""
    return f"{cell.texts_per_s:,.0f} texts/s{interval}"


def latency_text(cell: Cell) -> str:
    """p50, and p95 where it can be stated, else max; with n."""
    found = cell.latency
    p50 = f"p50 {found.p50_ms:,.1f} ms, " if found.p50_ms is not None else ""
    if found.p95_ms is not None:
        shaky = ", p95 not steady" if cell.p95_stable is False else ""
        return f"{p50}p95 {found.p95_ms:,.1f} ms (n={found.n:,}{shaky})"
    most = f", max {found.max_ms:,.1f} ms" if found.max_ms is not None else ""
    return f"{p50}no p95 (n={found.n:,}, it needs {P95_FLOOR}){most}"


def times(ratio: Ratio | None, of: str = "") -> str:
    """`1.42 × torch·fp32 (1.38 to 1.46)`; without an interval that is said."""
    if ratio is None:
        return "an unknown ratio" + (f" to {of}" if of else "")
    interval = "no interval" if ratio.low is None or ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"
    return " ".join(part for part in (f"{ratio.value:.2f} ×", of, f"({interval})") if part)


def best_of(cells: Sequence[Cell], value: Callable[[Cell], float]) -> Cell | None:
    """Of those that may be recommended; one that was not steady is no worse for it, and is marked where it is named."""
    return max((cell for cell in cells if cell.texts_per_s and cell.trusted and cell.verdict != "failed"),
               key=value, default=None)  # fmt: skip


def _mark(cell: Cell) -> tuple[str, str]:
    """Of one cell's throughput, and of its mean latency."""
    return (OK, "steady") if cell.is_rate_valid else (UNSURE, cell.verdict.replace("_", " "))


def speed(cell: Cell) -> float:
    return cell.texts_per_s or 0.0


def quickness(cell: Cell) -> float:
    """p50 where not all have a p95: an order among cells must compare like with like."""
    return -(cell.latency.p50_ms or float("inf"))


def summarise(
    cells: Sequence[Cell],
    here: Sequence[Cell],
    base: Cell | None,
    coalescing: Sequence[Coalescing],
    slo_p95_ms: float | None,
) -> tuple[SummaryRow, ...]:
    """`here`: the cells at the chosen load."""
    rows = [_validity(cells)]
    if (fastest := best_of(here, speed)) is not None and not fastest.load.rate:
        mark, words = _mark(fastest)
        against = fastest.over(base) if base is not None and base is not fastest else None
        more = f", {times(against, base.name)}" if against is not None and base is not None else ""
        rows.append(
            SummaryRow(f"Fastest at {fastest.load.name}", f"{fastest.name}: {speed_text(fastest)}{more}", mark, words)
        )
    at_a_rate = [cell for cell in here if cell.load.rate]
    if (soonest := best_of(at_a_rate, quickness)) is not None:
        answer = f"{soonest.name}: {latency_text(soonest)}"
        rows.append(SummaryRow(f"Soonest at {soonest.load.name}", answer, *_mark(soonest)))
    single = [
        cell
        for cell in cells
        if (cell.load.batch, cell.load.concurrency) == (1, 1) and cell.load.coalesce and not cell.load.rate
    ]
    if (quickest := best_of(single, quickness)) is not None:
        rows.append(SummaryRow("One text at a time", f"{quickest.name}: {latency_text(quickest)}", *_mark(quickest)))
    if coalescing:
        rows.append(_coalescing_row(coalescing))
    rows += _fidelity_rows(cells)
    fell = list(dict.fromkeys(cell.name for cell in cells if cell.fell_back))
    if fell:
        rows.append(SummaryRow("Did not run as asked", _listed(fell), UNSURE, "fell back"))
    if slo_p95_ms is not None:
        rows.append(_slo(cells, slo_p95_ms))
    errors = sum(cell.errors for cell in cells)
    failed = f"{errors:,} failed requests" if errors else "no failed request"
    rows.append(SummaryRow("Errors", failed, BAD if errors else OK, "errors" if errors else "none"))
    return tuple(rows)


def _validity(cells: Sequence[Cell]) -> SummaryRow:
    is_valid = sum(cell.is_valid for cell in cells)
    failed = sum(cell.verdict == "failed" for cell in cells)
    bound = sum(cell.verdict == "client_bound" for cell in cells)
    fast = sum(cell.is_rate_valid for cell in cells)
    parts = [f"{is_valid} of {len(cells)} cells {'is' if is_valid == 1 else 'are'} steady"]
    parts += [f"{fast} in throughput"] if fast > is_valid else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{bound} limited by the load driver"] if bound else []
    mark = OK if is_valid == len(cells) else UNSURE if is_valid else BAD
    words = {
        OK: "all sound",
        UNSURE: "read the marked ones with care" if 2 * is_valid >= len(cells) else "most are not: measure longer",
        BAD: "nothing is steady: treat all as provisional",
    }
    return SummaryRow("Can the figures be trusted", ", ".join(parts), mark, words[mark])


def _coalescing_row(pairs: Sequence[Coalescing]) -> SummaryRow:
    most = max(pairs, key=lambda pair: pair.ratio.value if pair.ratio else 0.0)
    answer = f"{times(most.ratio, 'the throughput')} of {most.on.name} at {most.on.load.name}"
    words = {"more": "helps", "less": "costs", "same": "no difference"}.get(
        most.ratio.verdict if most.ratio else "", "undecided"
    )
    if not (most.on.is_rate_valid and most.off.is_rate_valid):
        return SummaryRow("What coalescing gives", answer, UNSURE, "not steady")
    return SummaryRow("What coalescing gives", answer, UNSURE if words == "undecided" else OK, words)


def _fidelity_rows(cells: Sequence[Cell]) -> list[SummaryRow]:
    known = {cell.name: cell for cell in cells if cell.fidelity is not None}
    if not known:
        return []
    graded = {grade: [name for name, cell in known.items() if cell.grade == grade] for grade in ("red", "amber")}
    lowest = min(known.values(), key=lambda cell: cell.fidelity or 0.0)
    answer = f"lowest mean cosine to fp32: {lowest.fidelity:.4f} ({lowest.name})"
    for mark, grade in ((BAD, "red"), (UNSURE, "amber")):
        if graded[grade]:
            return [SummaryRow("Fidelity", answer, mark, f"{grade}: {_listed(graded[grade])}")]
    return [SummaryRow("Fidelity", answer, OK, "all green")]


def _slo(cells: Sequence[Cell], slo_p95_ms: float) -> SummaryRow:
    judged = [cell for cell in cells if cell.latency.p95_ms is not None and cell.is_valid]
    if not judged and (carried := best_of([cell for cell in cells if _late_but_met(cell, slo_p95_ms)], speed)):
        answer = f"p95 ≤ {slo_p95_ms:g} ms holds up to {carried.load.name} with {carried.name}: {latency_text(carried)}"
        return SummaryRow("SLO", answer, UNSURE, "met, though sent late")
    if not judged:
        answer = f"no steady cell has a p95 to hold against {slo_p95_ms:g} ms: measure longer, or on a quieter machine"
        return SummaryRow("SLO", answer, UNSURE, "cannot be judged")
    met = [cell for cell in judged if (cell.latency.p95_ms or 0.0) <= slo_p95_ms]
    fastest = best_of(met, speed)
    answer = (
        f"p95 ≤ {slo_p95_ms:g} ms is met by {len(met)} of the {len(judged)} cells of {len(cells)} that can be judged"
    )
    more = f"; fastest of them: {fastest.name} at {fastest.load.name}, {speed_text(fastest)}" if fastest else ""
    return SummaryRow("SLO", answer + more, OK if met else BAD, "met" if met else "not met")


def _late_but_met(cell: Cell, slo_p95_ms: float) -> bool:
    """In an open loop a driver that sends late makes latencies look worse, never better."""
    late = bool(cell.load.rate) and cell.verdict == "client_bound"
    return late and cell.latency.p95_ms is not None and cell.latency.p95_ms <= slo_p95_ms


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{shown} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown


# ---- findings


def find(
    cells: Sequence[Cell], here: Sequence[Cell], base: Cell | None, coalescing: Sequence[Coalescing]
) -> tuple[str, ...]:
    """Sentences, the weightiest first."""
    return (
        *_lead(here),
        *_precisions(here),
        *_coalesced(coalescing),
        *_scaling(cells),
        *_fallbacks(cells),
        *_costly(here),
    )


def _lead(here: Sequence[Cell]) -> list[str]:
    """The fastest of those that may be recommended against the next of them."""
    ordered = sorted((cell for cell in here if cell.trusted and cell.verdict != "failed"), key=speed, reverse=True)
    if len(ordered) < 2:
        return []
    first, second = ordered[:2]
    ratio = first.over(second)
    proved = "ahead of" if ratio is not None and ratio.verdict == "more" else "not proved ahead of"
    fast = f"Fastest at {first.load.name} is {first.name} with {speed_text(first)}{_at_cost(first)}"
    return [f"{fast}, {proved} {second.name}: {times(ratio)}{_care(first, second)}"]


def _precisions(here: Sequence[Cell]) -> list[str]:
    """What each precision does against fp32 of the same backend."""
    said = []
    for fp32 in here:
        if fp32.effective.precision != "fp32" or fp32.fell_back:
            continue
        for cell in here:
            ran = cell.effective
            if cell is fp32 or ran.backend != fp32.effective.backend or ran.precision == "fp32":
                continue
            ratio = cell.over(fp32)
            word = {"more": "faster than", "less": "slower than", "same": "as fast as"}.get(
                ratio.verdict if ratio else "", "not proved faster or slower than"
            )
            sentence = f"{cell.name} is {word} {fp32.name} at {cell.load.name}: {times(ratio)}"
            said.append((ratio.value if ratio is not None else 0.0, f"{sentence}{_at_cost(cell)}{_care(cell, fp32)}"))
    return [sentence for _, sentence in sorted(said, reverse=True)[:_MOST_PRECISIONS]]


def _at_cost(cell: Cell) -> str:
    return f", at a mean cosine of {cell.fidelity:.4f} ({cell.grade})" if cell.fidelity is not None else ""


def _care(*cells: Cell) -> str:
    """The mark of what stands on figures that were not steady."""
    shaky = not all(cell.is_rate_valid for cell in cells)
    return " ~" if shaky else ""


def _coalesced(pairs: Sequence[Coalescing]) -> list[str]:
    said = []
    for name in dict.fromkeys(pair.on.name for pair in pairs):
        mine = [pair for pair in pairs if pair.on.name == name and pair.ratio is not None]
        if not mine:
            continue
        most = max(mine, key=lambda pair: pair.ratio.value if pair.ratio else 0.0)
        least = min(mine, key=lambda pair: pair.on.load.concurrency)
        items = most.on.mean_batch_items
        batches = f", in batches of {items:.1f} texts on average" if items else ""
        alone = f", and {times(least.ratio)} at {least.on.load.name}" if least is not most else ""
        shaky = _care(most.on, most.off, least.on, least.off)
        said.append(
            f"With coalescing {name} answers {times(most.ratio, 'the texts/s')} at {most.on.load.name}{batches}{alone}"
            f"{shaky}"
        )
    return said


def _scaling(cells: Sequence[Cell]) -> list[str]:
    """How the throughput of the fastest deployments grows from one text at a time to their best load."""
    found: list[tuple[Cell, Cell]] = []
    for name in dict.fromkeys(cell.name for cell in cells):
        mine = [
            cell
            for cell in cells
            if cell.name == name and cell.texts_per_s and not cell.load.rate and cell.load.coalesce
        ]
        one = next((cell for cell in mine if (cell.load.batch, cell.load.concurrency) == (1, 1)), None)
        most = max(mine, key=speed, default=None)
        if one is not None and most is not None and most is not one:
            found.append((one, most))
    found.sort(key=lambda pair: -speed(pair[1]))
    told = [
        f"{one.name} from {one.texts_per_s:,.0f} to {most.texts_per_s:,.0f} at {most.load.name}"
        for one, most in found[:_MOST_NAMED]
    ]
    shaky = _care(*(cell for pair in found[:_MOST_NAMED] for cell in pair))
    return [f"From one text at a time (1 × 1) to their best load, texts/s: {', '.join(told)}{shaky}"] if told else []


def _fallbacks(cells: Sequence[Cell]) -> list[str]:
    found: dict[str, str] = {}
    for cell in cells:
        if cell.fell_back:
            why = cell.warnings[0] if cell.warnings else "the engine gave no reason"
            found.setdefault(cell.name, f"{cell.requested.cell} was asked for, {cell.effective.cell} ran: {why}")
    return list(found.values())


def _costly(here: Sequence[Cell]) -> list[str]:
    red = sorted((cell for cell in here if cell.grade == "red"), key=lambda cell: cell.fidelity or 0.0)
    if not red:
        return []
    each = ", ".join(
        f"{cell.name} ({cell.fidelity:.4f}" + (f", overlap@10 {cell.overlap_at_10:.2f})" if cell.overlap_at_10 else ")")
        for cell in red
    )
    return [f"Too far from fp32 to be recommended, by mean cosine: {each}"]
