"""Computes the tables and the verdict from samples. Pure functions.

A ratio above 1 is a gain: speed is other over base, memory and latency are base over other.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from benchmarks.peers.report import with_interval
from benchmarks.versus.project import Ratio, paired_ratio

BASE, OTHER, CONTROL = "base", "other", "control"
"""The sides. The control is a second instance of the base; its ratio shows the noise."""
LEAST_OF_A_ROW = 0.97
"""A row fails when its whole 95 % interval lies below this."""
LEAST_OF_ALL = 0.985
"""Limit of the geometric mean of the speed of all rows."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One turn of one side at one workload."""

    round: int
    cell: str
    workload: str
    side: str
    texts_per_s: float
    p50_ms: float
    is_latency: bool
    """A workload of one caller with single texts, which is compared by median latency instead of throughput."""

    @property
    def speed(self) -> float:
        """The compared value; higher is better."""
        return 1e3 / self.p50_ms if self.is_latency else self.texts_per_s


@dataclass(frozen=True, slots=True)
class Memory:
    """The resident memory of an engine after all workloads of a round."""

    round: int
    cell: str
    side: str
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Row:
    """A cell at a workload: medians by side, and ratios within the same round."""

    cell: str
    workload: str
    texts_per_s: Mapping[str, float]
    p50_ms: Mapping[str, float] | None
    """None if throughput is compared."""
    ratio: Ratio
    control: Ratio


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """The resident memory of a cell: medians by side, and ratios within the same round, above 1 if less is used."""

    cell: str
    rss_mb: Mapping[str, float]
    ratio: Ratio
    control: Ratio


@dataclass(frozen=True, slots=True)
class Means:
    """Geometric means over all rows, paired with the base by round."""

    speed: Ratio
    control_speed: Ratio
    memory: Ratio
    control_memory: Ratio


def rows(samples: Sequence[Sample]) -> list[Row]:
    """Returns the rows in order of first appearance. Every round has all sides, because a failed run has no report."""
    found = []
    for cell, workload in sorted({(one.cell, one.workload) for one in samples}):
        own = [one for one in samples if (one.cell, one.workload) == (cell, workload)]
        by_side = {side: _in_order(one for one in own if one.side == side) for side in (BASE, OTHER, CONTROL)}
        speeds = {side: [one.speed for one in turns] for side, turns in by_side.items()}
        found.append(
            Row(
                cell,
                workload,
                {side: median(one.texts_per_s for one in turns) for side, turns in by_side.items()},
                {side: median(one.p50_ms for one in turns) for side, turns in by_side.items()}
                if own[0].is_latency
                else None,
                _ratio(speeds[OTHER], speeds[BASE]),
                _ratio(speeds[CONTROL], speeds[BASE]),
            )
        )
    return found


def memory_rows(memory: Sequence[Memory]) -> list[MemoryRow]:
    """Returns a row per cell, by name."""
    found = []
    for cell in sorted({one.cell for one in memory}):
        sizes = {
            side: [one.rss_mb for one in sorted(memory, key=_round) if (one.cell, one.side) == (cell, side)]
            for side in (BASE, OTHER, CONTROL)
        }
        medians = {side: median(values) for side, values in sizes.items()}
        ratios = _ratio(sizes[BASE], sizes[OTHER]), _ratio(sizes[BASE], sizes[CONTROL])
        found.append(MemoryRow(cell, medians, *ratios))
    return found


def means(samples: Sequence[Sample], memory: Sequence[Memory]) -> Means:
    """Returns the means over all rows of all cells."""

    def speed(side: str) -> list[float]:
        return _means_by_round((one.round, one.speed) for one in samples if one.side == side)

    def size(side: str) -> list[float]:
        return _means_by_round((one.round, one.rss_mb) for one in memory if one.side == side)

    return Means(
        _ratio(speed(OTHER), speed(BASE)),
        _ratio(speed(CONTROL), speed(BASE)),
        _ratio(size(BASE), size(OTHER)),
        _ratio(size(BASE), size(CONTROL)),
    )


def regressions(speed: Iterable[tuple[str, Ratio]], memory: Iterable[tuple[str, Ratio]], mean: Ratio) -> list[str]:
    """Returns one sentence per failed limit; empty if the comparison passes. `speed` and `memory` are rows by name.

    A row of a single round has no interval and cannot fail.
    """
    kinds = [("slower", name, ratio) for name, ratio in speed] + [("larger", name, ratio) for name, ratio in memory]
    found = [
        f"{name} is {word}: {with_interval(ratio)} lies wholly below {LEAST_OF_A_ROW}"
        for word, name, ratio in kinds
        if ratio.high is not None and ratio.high < LEAST_OF_A_ROW
    ]
    if mean.value < LEAST_OF_ALL:
        found.append(f"the geometric mean of speed is {mean.value:.3f}, below {LEAST_OF_ALL}")
    return found


def verdict(found: Sequence[Row], memory: Sequence[MemoryRow], over_all: Means) -> tuple[bool, str]:
    """Returns whether the other revision passes, and the verdict as a sentence.

    If the control fails by the same rule, the sentence says that the machine was too noisy.
    """

    def reasons_to_fail(of_control: bool) -> list[str]:
        return regressions(
            [(f"{row.cell} {row.workload}", row.control if of_control else row.ratio) for row in found],
            [(f"{row.cell} memory", row.control if of_control else row.ratio) for row in memory],
            over_all.control_speed if of_control else over_all.speed,
        )

    reasons, noise = reasons_to_fail(of_control=False), reasons_to_fail(of_control=True)
    line = f"verdict: FAILS: {'; '.join(reasons)}" if reasons else "verdict: passes"
    if noise:
        line += ". Warning: the base compared with itself fails too, so the machine is too noisy: use more rounds"
    if over_all.speed.low is None:
        line += ". One round gives no intervals: only the geometric mean was checked"
    return not reasons, line


def markdown(found: Sequence[Row], memory: Sequence[MemoryRow], over_all: Means) -> str:
    """Returns both tables and the means as markdown. Intervals are 95 %."""
    lines = _table(
        2,
        ("cell", "workload", "texts/s, base", "texts/s, other", "p50 ms, base", "p50 ms, other", "× faster", "A/A"),
        [
            (
                row.cell,
                row.workload,
                f"{row.texts_per_s[BASE]:,.0f}",
                f"{row.texts_per_s[OTHER]:,.0f}",
                f"{row.p50_ms[BASE]:.2f}" if row.p50_ms else "–",
                f"{row.p50_ms[OTHER]:.2f}" if row.p50_ms else "–",
                with_interval(row.ratio),
                with_interval(row.control),
            )
            for row in found
        ],
    )
    lines.append("")
    lines += _table(
        1,
        ("cell", "RSS after load MB, base", "RSS after load MB, other", "× smaller", "A/A"),
        [
            (
                row.cell,
                f"{row.rss_mb[BASE]:,.0f}",
                f"{row.rss_mb[OTHER]:,.0f}",
                with_interval(row.ratio),
                with_interval(row.control),
            )
            for row in memory
        ],
    )
    lines += [
        "",
        "Figures are medians, ratios geometric means of paired rounds. Above 1 is a gain of other; 1x1 compares p50.",
        "A/A is a second instance of the base in place of other; it shows the noise.",
        _mean_line("speed", over_all.speed, over_all.control_speed),
        _mean_line("memory", over_all.memory, over_all.control_memory),
    ]
    return "\n".join(lines)


def _mean_line(what: str, ratio: Ratio, control: Ratio) -> str:
    return f"geometric mean, {what}: {_precise(ratio)}; A/A: {_precise(control)}"


def _precise(ratio: Ratio) -> str:
    """Three digits, because the limit has three."""
    interval = "" if ratio.low is None or ratio.high is None else f" [{ratio.low:.3f}, {ratio.high:.3f}]"
    return f"{ratio.value:.3f}{interval}"


def _table(names: int, heads: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """Returns markdown lines. The first `names` columns are text, the others numbers."""
    rule = f"|{'---|' * names}{'---:|' * (len(heads) - names)}"
    return [f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(cells)} |" for cells in body)]


def _means_by_round(values: Iterable[tuple[int, float]]) -> list[float]:
    """Returns the geometric mean of each round, in order."""
    logs: dict[int, list[float]] = {}
    for number, value in values:
        logs.setdefault(number, []).append(math.log(value))
    return [math.exp(fmean(logs[number])) for number in sorted(logs)]


def _ratio(better_when_more: Sequence[float], against: Sequence[float]) -> Ratio:
    found = paired_ratio(better_when_more, against)
    if found is None:
        raise ValueError("no round was measured: there is nothing to compare")
    return found


def _in_order(samples: Iterable[Sample]) -> list[Sample]:
    return sorted(samples, key=_round)


def _round(one: Sample | Memory) -> int:
    return one.round
