"""The answer of a report: what to serve, in one sentence with one number and its confidence. Pure functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from console.analysis.ratios import Ratio
from console.report.findings import best_of, quickness, speed
from console.report.recommend import check_command, serve_command
from console.report.rows import ReportRow

HIGH, MEDIUM, LOW = "high", "medium", "low"
_FEW_ERRORS = 0.001
"""Share of failed requests up to which a figure counts; that of `max-load`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One sentence, the number it stands on, and how far to trust it."""

    claim: str
    """`Serve ONNX Runtime, int8: 2.3 × the throughput of ONNX Runtime, fp32 at cosine 0.995`, without a full stop."""
    number: str
    """`2.3 ×`, `1,400 texts/s`"""
    about: str
    """What the number is, with its interval and load."""
    confidence: str
    """high, medium or low."""
    reason: str
    """Why the confidence is not high, and what would settle it; empty if it is high."""
    rows: tuple[ReportRow, ...]
    """What the number is computed from; the first is the deployment to serve."""
    check: str
    """The command that measures it again."""
    serve: str
    """The command that serves it; empty if nothing is recommended."""

    @property
    def sentence(self) -> str:
        """The claim with its confidence."""
        return f"{self.claim}; {self.confidence} confidence" + (f", {self.reason}" if self.reason else "") + "."


def answer_of(
    rows: Sequence[ReportRow],
    here: Sequence[ReportRow],
    base: ReportRow | None,
    slo_p95_ms: float | None,
    mixed: Sequence[str],
) -> Answer:
    """Returns the answer to the question that the runs ask.

    With an SLO: the highest throughput that meets it. At a rate: the lowest latency. Else the fastest deployment at
    the chosen load (`here`), against the baseline. `mixed`: facts of the environment that differ between runs.
    """
    if slo_p95_ms is not None:
        return _under_slo(rows, slo_p95_ms, mixed)
    pick: Callable[[ReportRow], float] = quickness if here[0].load.rate else speed
    best = best_of(here, pick)
    if best is None:
        return _nothing(here[0], f"No deployment at {here[0].load.title} can be recommended: each failed or is too far"
                        " from fp32")  # fmt: skip
    if best.load.rate:
        return _quickest(best, len(here) > 1, mixed)
    others = [row for row in here if row is not best and row.may_be_recommended and row.verdict != "failed"]
    if base is None or (base is best and not others):
        return _single(best, mixed)
    if base is best:
        return _baseline_leads(base, max(others, key=speed), mixed)
    return _faster(best, base, mixed)


def _faster(best: ReportRow, base: ReportRow, mixed: Sequence[str]) -> Answer:
    """The fastest deployment against a slower baseline."""
    ratio = best.over(base)
    number, name = _times(ratio), _short_name(base, best)
    about = f"the throughput of {base.title}{_interval(ratio)}, at {best.load.title}"
    if ratio is not None and ratio.low is not None and ratio.verdict != "more" and base.may_be_recommended:
        same = ratio.verdict == "same"
        claim = f"Keep {base.title}: {best.title} is {'as fast' if same else 'not proved faster'}, with {number} its"
        return _answer(f"{claim} throughput", number, about, (base, best), mixed, decided=same)
    claim = _with_fidelity(f"Serve {best.title}: {number} the throughput of {name}", best)
    return _answer(claim, number, about, (best, base), mixed, decided=ratio is not None and ratio.verdict == "more")


def _baseline_leads(base: ReportRow, second: ReportRow, mixed: Sequence[str]) -> Answer:
    ratio = base.over(second)
    number = _times(ratio)
    about = f"the throughput of {second.title}{_interval(ratio)}, at {base.load.title}"
    decided = ratio is not None and ratio.verdict in ("more", "same")
    claim = f"Serve {base.title}: {number} the throughput of {second.title}, the next fastest"
    if not decided:
        claim = f"Serve {base.title}: no other deployment is proved faster; it has {number} the throughput of the next"
        claim += f", {second.title}"
    return _answer(claim, number, about, (base, second), mixed, decided=decided)


def _single(row: ReportRow, mixed: Sequence[str]) -> Answer:
    """The only deployment that was measured: its figure, which is no comparison."""
    number = f"{row.texts_per_s:,.0f} texts/s"
    interval = f", {row.low:,.0f} to {row.high:,.0f}" if row.low is not None and row.high is not None else ""
    claim = _with_fidelity(f"{row.title} embeds {number} at {row.load.title}", row, ",")
    return _answer(claim, number, f"at {row.load.title}{interval}", (row,), mixed, decided=True)


def _quickest(row: ReportRow, compared: bool, mixed: Sequence[str]) -> Answer:
    p95_ms = row.latency.p95_ms
    name, value = ("p95", p95_ms) if p95_ms is not None else ("p50", row.latency.p50_ms)
    number = f"{name} {value:,.1f} ms" if value is not None else "no latency"
    lead = f"Serve {row.title}: the lowest latency" if compared else f"{row.title} answers"
    claim = _with_fidelity(f"{lead} at {row.load.title}, {number}", row, ",")
    about = f"at {row.load.title}, n={row.latency.n:,}"
    return _answer(claim, number, about, (row,), mixed, decided=True, by_latency=True)


def _under_slo(rows: Sequence[ReportRow], slo_p95_ms: float, mixed: Sequence[str]) -> Answer:
    judged = [row for row in rows if row.latency.p95_ms is not None]
    met = [row for row in judged if not row.slo_missed]
    best = best_of(met, speed)
    if best is not None:
        number = f"{best.load.rate:g} requests/s" if best.load.rate else f"{best.texts_per_s:,.0f} texts/s"
        holds = f"holds {number}, batch {best.load.batch}," if best.load.rate else f"{number} at {best.load.title}"
        lead = f"{best.title} {holds}" if best.load.rate else f"Serve {best.title}: {holds}"
        claim = f"{lead} with p95 {best.latency.p95_ms:,.1f} ms, within the target of {slo_p95_ms:g} ms"
        about = f"with p95 ≤ {slo_p95_ms:g} ms, the most of {len(judged)} cells with a p95"
        return _answer(_with_fidelity(claim, best, ","), number, about, (best,), mixed, decided=True, by_latency=True)
    nearest = min(judged, key=lambda row: row.latency.p95_ms or 0.0, default=None)
    if nearest is None:
        return _nothing(
            rows[0], f"Whether p95 stays within {slo_p95_ms:g} ms is not known: no cell has enough requests"
        )
    number = f"p95 {nearest.latency.p95_ms:,.1f} ms"
    claim = f"Nothing measured meets p95 ≤ {slo_p95_ms:g} ms: the lowest is {number}, {nearest.title} at"
    about = f"the lowest, at {nearest.load.title}"
    found = _answer(f"{claim} {nearest.load.title}", number, about, (nearest,), mixed, decided=True, by_latency=True)
    return replace(found, serve="")


def _nothing(row: ReportRow, claim: str) -> Answer:
    return Answer(claim, "–", f"at {row.load.title}", LOW, "measure longer", (), row.command, "")


def _answer(
    claim: str,
    number: str,
    about: str,
    rows: tuple[ReportRow, ...],
    mixed: Sequence[str],
    *,
    decided: bool,
    by_latency: bool = False,
) -> Answer:
    confidence, reason = _confidence(rows, mixed, decided=decided, by_latency=by_latency)
    check = check_command(rows[0], rows[1]) if len(rows) > 1 else rows[0].command
    return Answer(claim, number, about, confidence, reason, rows, check, serve_command(rows[0]))


def _confidence(rows: Sequence[ReportRow], mixed: Sequence[str], *, decided: bool, by_latency: bool) -> tuple[str, str]:
    """Returns the confidence and what keeps it from being high.

    High: every run is steady and the interval excludes 1. Medium: the interval excludes 1, but a run that was long
    enough was not steady. Low: everything else.
    """
    unsteady = [row for row in rows if not _is_steady(row, by_latency)]
    needed_s = max((row.duration_needed_s for row in unsteady if row.duration_needed_s is not None), default=None)
    doubts = (
        (bool(mixed), "the runs come from different environments"),
        (any(row.errors > _FEW_ERRORS * max(row.latency.n, 1) for row in rows), "requests failed"),
        (any(row.verdict == "client_bound" for row in unsteady), "the load generator was the limit"),
        (needed_s is not None, f"{needed_s} s a cell would settle it"),
        (not decided, "a comparison in alternation would settle it"),
    )
    reason = next((words for applies, words in doubts if applies), "")
    if reason:
        return LOW, reason
    return (MEDIUM, "a run was not steady, a quieter machine would settle it") if unsteady else (HIGH, "")


def _is_steady(row: ReportRow, by_latency: bool) -> bool:
    return row.is_valid and row.p95_stable is not False if by_latency else row.is_rate_valid


def _times(ratio: Ratio | None) -> str:
    """`2.3 ×`; two decimals near 1, where one would hide the difference."""
    if ratio is None:
        return "an unknown ratio to"
    digits = 2 if 0.8 < ratio.value < 1.2 else 1 if ratio.value < 10 else 0
    return f"{ratio.value:.{digits}f} ×"


def _interval(ratio: Ratio | None) -> str:
    if ratio is None or ratio.low is None or ratio.high is None:
        return " (no interval)"
    return f" (95 % interval {ratio.low:.2f} to {ratio.high:.2f})"


def _short_name(base: ReportRow, best: ReportRow) -> str:
    """The baseline's precision alone where the rest of its name is that of the best."""
    return base.title.replace(f"{best.title.split(',')[0]}, ", "") if "→" not in base.title else base.title


def _with_fidelity(claim: str, row: ReportRow, before: str = " at") -> str:
    """The claim with the cosine and, unless it is green, the grade. Nothing is added to fp32 without a cosine."""
    if row.fidelity is None:
        return claim if row.effective.precision == "fp32" else f"{claim}, fidelity not measured"
    grade = "" if row.grade == "green" else f" ({row.grade})"
    return f"{claim}{before} cosine {row.fidelity:.3f}{grade}"
