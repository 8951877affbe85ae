"""Computes the table and the data of the plot from samples. Pure functions."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.analysis.ratios import Ratio, paired_ratio

FP32_COSINE = 0.999
"""Minimum cosine on every text for an fp32 contender."""


@dataclass(frozen=True, slots=True)
class Row:
    """One contender at one workload: medians over the rounds, and ratios to the base in the same round."""

    workload: str
    contender: str
    texts_per_s: float | None
    ratio: Ratio | None
    p50_ms: float | None
    p50_ratio: Ratio | None
    server_cpu_ms: float | None
    client_cpu_ms: float | None
    rss_mb: float | None
    start_s: float | None
    cosine: float | None
    fp32: bool
    errors: int


def rows(results: Mapping[str, Any], base: str) -> list[Row]:
    """Returns the rows of `results`, the content of the JSON file, in its order. Without samples there is no row."""
    rounds = 1 + max((one["round"] for one in results["samples"]), default=-1)
    samples: defaultdict[tuple[str, str], dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for one in results["samples"]:
        samples[one["workload"], one["contender"]][one["round"]] = one
    starts: defaultdict[str, list[float]] = defaultdict(list)
    for one in results["starts"]:
        starts[one["server"]].append(one["ready_after_s"])

    def by_round(workload: str, contender: str, key: str) -> list[float | None]:
        found = samples.get((workload, contender), {})
        return [found[number][key] if number in found else None for number in range(rounds)]

    def row(workload: str, name: str, about: Mapping[str, Any]) -> Row:
        def median(key: str) -> float | None:
            return _median(by_round(workload, name, key))

        def ratio(key: str) -> Ratio | None:
            return paired_ratio(by_round(workload, name, key), by_round(workload, base, key))

        return Row(
            workload=workload,
            contender=name,
            texts_per_s=median("texts_per_s"),
            ratio=ratio("texts_per_s"),
            p50_ms=median("p50_ms"),
            p50_ratio=ratio("p50_ms"),
            server_cpu_ms=median("server_cpu_ms"),
            client_cpu_ms=median("client_cpu_ms"),
            rss_mb=median("rss_mb"),
            start_s=_median(starts.get(about["server"], [])),
            cosine=results["cosines"].get(name),
            fp32=about["fp32"],
            errors=sum(sum(one["errors"].values()) for one in samples[workload, name].values()),
        )

    return [
        row(workload, name, about)
        for workload in results["workloads"]
        for name, about in results["contenders"].items()
        if (workload, name) in samples
    ]


def markdown(found: Iterable[Row], base: str) -> str:
    """Returns the markdown table. Intervals are 95 %; `!` marks an fp32 contender with other vectors than fp32."""
    heads = (
        "workload", "contender", "texts/s", f"× {base}", "p50, ms", "p50 ×", "server CPU, ms/text",
        "client CPU, ms/text", "RSS, MB", "ready, s", "lowest cosine", "errors",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|---|---|{'---:|' * (len(heads) - 2)}"]
    shown = ""
    for row in found:
        cells = (
            row.workload if row.workload != shown else "",
            row.contender,
            _number(row.texts_per_s, ",.0f"),
            with_interval(row.ratio),
            _number(row.p50_ms, ",.2f"),
            with_interval(row.p50_ratio),
            _number(row.server_cpu_ms, ",.3f"),
            _number(row.client_cpu_ms, ",.3f"),
            _number(row.rss_mb, ",.0f"),
            _number(row.start_s, ".1f"),
            _number(row.cosine, ".5f") + (" !" if is_unlike_fp32(row) else ""),
            str(row.errors),
        )
        lines.append(f"| {' | '.join(cells)} |")
        shown = row.workload
    return "\n".join(lines)


def is_unlike_fp32(row: Row) -> bool:
    """Returns whether it is an fp32 contender whose vectors differ from those of sentence-transformers."""
    return row.fp32 and row.cosine is not None and row.cosine < FP32_COSINE


def plotted(found: Iterable[Row]) -> list[dict[str, Any]]:
    """Returns the rows with a ratio, in the format of the plot."""
    return [
        {
            "workload": row.workload,
            "contender": row.contender,
            "ratio": row.ratio.value,
            "low": row.ratio.low,
            "high": row.ratio.high,
        }
        for row in found
        if row.ratio is not None
    ]


def _median(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def with_interval(ratio: Ratio | None) -> str:
    """Formats `1.23 [1.20, 1.26]`; a dash without a ratio, no interval below two rounds."""
    if ratio is None:
        return "–"
    show: Callable[[float], str] = "{:.2f}".format
    interval = "" if ratio.low is None or ratio.high is None else f" [{show(ratio.low)}, {show(ratio.high)}]"
    return f"{show(ratio.value)}{interval}"
