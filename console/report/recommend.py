"""What a report recommends, for each purpose that something was measured for: with evidence and commands. Pure.

A lead counts as shown where an interval shows it; everything else says what is missing.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.report.cells import Cell, deployment_flags
from console.report.findings import best_of, latency_text, quickness, speed, speed_text, times

_CLEAR_MEMORY_LEAD = 0.9
"""RSS is one figure without an interval, and an engine that was switched keeps some of what it had."""
_CROWD = 8
_CHECK_ROUNDS = "10"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to use for a purpose, why, and how to check and to do it."""

    purpose: str
    choice: str
    evidence: str
    doubt: str
    """Why it is not shown; empty where it is."""
    reproduce: str
    serve: str

    @property
    def sure(self) -> bool:
        return not self.doubt


@dataclass(frozen=True, slots=True)
class _Purpose:
    """`among`: the cells in question; `value`: more of it is better; `judge`: the best one against the next."""

    words: str
    among: Sequence[Cell]
    value: Callable[[Cell], float]
    judge: Callable[[Cell, Cell], tuple[bool, str]]
    by_memory: bool = False
    under_slo: bool = False


def recommend(cells: Sequence[Cell], here: Sequence[Cell], slo_p95_ms: float | None) -> tuple[Recommendation, ...]:
    """`here`: the cells at the chosen load."""
    found = [_recommendation(purpose, best) for purpose in _purposes(cells, here, slo_p95_ms)
             if (best := best_of(purpose.among, purpose.value)) is not None]  # fmt: skip
    return tuple(found)


def _purposes(cells: Sequence[Cell], here: Sequence[Cell], slo_p95_ms: float | None) -> list[_Purpose]:
    closed = [cell for cell in cells if cell.load.coalesce and not cell.load.rate]
    single = [cell for cell in closed if (cell.load.batch, cell.load.concurrency) == (1, 1)]
    crowd = [cell for cell in closed if cell.load.batch == 1 and cell.load.concurrency >= _CROWD]
    purposes = []
    if slo_p95_ms is not None:
        met = [cell for cell in cells if cell.latency.p95_ms is not None and cell.latency.p95_ms <= slo_p95_ms]
        purposes.append(
            _Purpose(f"Most texts a second with p95 ≤ {slo_p95_ms:g} ms", met, speed, _by_speed, under_slo=True)
        )
    purposes.append(_Purpose("Most texts a second", closed, speed, _by_speed))
    fastest = best_of(closed, speed)
    if fastest is not None and fastest.grade == "amber":
        green = [cell for cell in closed if cell.grade == "green"]
        purposes.append(_Purpose("Most texts a second at green fidelity", green, speed, _by_speed))
    return [
        *purposes,
        _Purpose("Soonest answer to one text", single, quickness, _by_latency),
        _Purpose("Many callers with one text each", crowd, speed, _by_speed),
        _Purpose("Least memory", [cell for cell in here if cell.rss_bytes], _lightness, _by_memory, by_memory=True),
    ]


def _lightness(cell: Cell) -> float:
    return -float(cell.rss_bytes or 0)


def _recommendation(purpose: _Purpose, best: Cell) -> Recommendation:
    rivals = [cell for cell in purpose.among
              if cell.name != best.name and cell.load == best.load and cell.trusted and cell.texts_per_s]  # fmt: skip
    second = max(rivals, key=purpose.value, default=None)
    if second is None:
        shown, says = False, f"the only deployment measured at {best.load.name}"
    else:
        shown, says = purpose.judge(best, second)
    evidence = f"{_facts(best)} at {best.load.name} (run {best.runs[-1]}); {says}"
    verdict = best.verdict.replace("_", " ")
    if not best.is_rate_valid:
        evidence += f"; {verdict}: {best.reason}"
    shaky_p95 = purpose.under_slo and best.p95_stable is False
    doubts = (
        (not best.is_rate_valid, verdict), (shaky_p95, "p95 not steady"), (second is None, "no rival measured"),
        (not shown, "not proved"),
    )  # fmt: skip
    return Recommendation(
        purpose=purpose.words,
        choice=best.name,
        evidence=evidence,
        doubt=next((words for applies, words in doubts if applies), ""),
        reproduce=best.command if second is None or purpose.by_memory else _check(best, second),
        serve=shlex.join(["engine", "serve", *deployment_flags(best.requested)]),
    )


def _facts(cell: Cell) -> str:
    facts = [speed_text(cell), latency_text(cell)]
    if cell.fidelity is not None:
        facts.append(f"mean cosine {cell.fidelity:.4f} ({cell.grade})")
    if cell.rss_bytes:
        facts.append(f"RSS {cell.rss_bytes / 2**20:,.0f} MiB")
    return ", ".join(facts)


def _by_speed(best: Cell, second: Cell) -> tuple[bool, str]:
    ratio = best.over(second)
    shown = ratio is not None and ratio.verdict == "more"
    shaky = "" if second.is_rate_valid else " (not steady)"
    return shown, f"{'ahead of' if shown else 'not proved ahead of'} {second.name}{shaky}: {times(ratio)}"


def _by_latency(best: Cell, second: Cell) -> tuple[bool, str]:
    """One caller waits for each answer: the mean latency is the inverse of the answers a second."""
    ratio = second.over(best)
    shown = ratio is not None and ratio.verdict == "less"
    says = f"its mean latency is {times(ratio, f'that of {second.name}')}, which has {latency_text(second)}"
    return shown, says if shown else f"{says}: not proved sooner"


def _by_memory(best: Cell, second: Cell) -> tuple[bool, str]:
    mine, other = best.rss_bytes or 0, second.rss_bytes or 0
    says = f"next is {second.name} with {other / 2**20:,.0f} MiB"
    return mine <= _CLEAR_MEMORY_LEAD * other, f"{says}; an engine of its own may need less than one that was switched"


def _check(best: Cell, second: Cell) -> str:
    return shlex.join([
        "embedconsole", "compare", "--live", _deployment_flags(second), _deployment_flags(best), *best.load.flags,
        "--rounds", _CHECK_ROUNDS,
    ])  # fmt: skip


def _deployment_flags(cell: Cell) -> str:
    """As `compare --live` reads a deployment."""
    asked = cell.requested
    recipe = f" recipe={asked.recipe}" if asked.recipe and asked.recipe != "plain" else ""
    coalesce = "" if cell.load.coalesce else " coalesce=off"
    return f"{asked.backend} {asked.precision}{recipe}{coalesce}"
