"""Two to four stored runs side by side: figures with ratios to the first run, differences, and warnings. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.analysis.differences import differing, environment_facts
from console.analysis.memory import recorded_deployments_before
from console.analysis.ratios import Ratio
from console.compare.run_ratios import RunRatio, percentile_ratio, throughput_ratio
from console.model.load import P95_FLOOR, P99_FLOOR
from console.store.labels import cell_name, load_name
from console.store.opened_run import OpenedRun

_P50_FLOOR = 30
"""Requests from which a p50 ratio is stated."""
_REVISION_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class Versus:
    """One figure relative to the baseline. `margin`: half the width of the ratio's 95 % interval; None without one."""

    ratio: float | None
    margin: float | None = None
    verdict: str = ""
    """`better`, `worse`, `same` or `undecided`; empty without an interval."""


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure of every run. `versus` is None for the baseline and for a missing figure."""

    name: str
    values: tuple[float | None, ...]
    stable: tuple[bool | None, ...]
    versus: tuple[Versus | None, ...]


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """One setting or fact of every run."""

    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


@dataclass(frozen=True, slots=True)
class SideBySide:
    """The first run is the baseline."""

    runs: tuple[OpenedRun, ...]
    figures: tuple[FigureRow, ...]
    config: tuple[ConfigRow, ...]
    environment: tuple[ConfigRow, ...]
    """Only the facts that differ; they may explain differences of the figures."""
    warnings: tuple[str, ...]


def side_by_side(runs: Sequence[OpenedRun]) -> SideBySide:
    """Compares each run with the first one. Needs at least one run."""
    environment = _environment(runs)
    return SideBySide(tuple(runs), _figures(runs), _config(runs), environment, _warnings(runs, environment))


def _figures(runs: Sequence[OpenedRun]) -> tuple[FigureRow, ...]:
    p50, p95, p99 = (percentile_ratio(*one) for one in ((50, _P50_FLOOR), (95, P95_FLOOR), (99, P99_FLOOR)))
    return (
        _row("texts/s", runs, ("throughput", "texts_per_s"), True, throughput_ratio, "throughput"),
        _row("p50 ms", runs, ("latency_ms", "p50"), False, p50),
        _row("p95 ms", runs, ("latency_ms", "p95"), False, p95, "p95"),
        _row("p99 ms", runs, ("latency_ms", "p99"), False, p99),
        _row("fidelity", runs, ("fidelity", "cosine_mean"), True, as_ratio=False),
        _row("RSS", runs, ("server", "rss_bytes"), False, as_ratio=_memory_is_comparable(runs)),
        _row("texts a batch", runs, ("server", "mean_batch_items"), True, as_ratio=False),
        _row("n", runs, ("latency_ms", "n"), True, as_ratio=False),
    )


def _row(
    name: str,
    runs: Sequence[OpenedRun],
    path: tuple[str, str],
    more_is_better: bool,
    ratio_of: RunRatio = lambda run, base: None,
    judged: str = "",
    *,
    as_ratio: bool = True,
) -> FigureRow:
    values = tuple(_number(opened.report, path) for opened in runs)
    verdicts = [(opened.report.get("verdicts") or {}).get(judged) or {} for opened in runs]
    stable = tuple(verdict.get("stable") for verdict in verdicts)
    base = values[0]
    versus: list[Versus | None] = [None]
    for index, value in enumerate(values[1:], start=1):
        if value is None or not base or not as_ratio:
            versus.append(None)
        else:
            ratio = ratio_of(runs[index].run, runs[0].run)
            versus.append(Versus(value / base) if ratio is None else _versus(ratio, more_is_better))
    return FigureRow(name, values, stable, tuple(versus))


def _versus(ratio: Ratio, more_is_better: bool) -> Versus:
    if ratio.low is None or ratio.high is None:
        return Versus(ratio.value)
    verdict = ratio.verdict
    if verdict in {"more", "less"}:
        verdict = "better" if (verdict == "more") == more_is_better else "worse"
    return Versus(ratio.value, (ratio.high - ratio.low) / 2, verdict)


def _number(report: Mapping[str, Any], path: tuple[str, str]) -> float | None:
    value = (report.get(path[0]) or {}).get(path[1])
    return float(value) if isinstance(value, int | float) else None


def _config(runs: Sequence[OpenedRun]) -> tuple[ConfigRow, ...]:
    rows = [opened.run.row for opened in runs]
    live = [row.effective for row in rows]
    return (
        ConfigRow("cell", tuple(cell_name(row.requested, row.effective) for row in rows)),
        ConfigRow("load", tuple(load_name(row) for row in rows)),
        ConfigRow("device", tuple(one.device for one in live)),
        ConfigRow("instances", tuple(f"{one.instances} × {one.threads} threads" for one in live)),
        ConfigRow("model", tuple(one.model for one in live)),
        ConfigRow("coalescing", tuple("on" if row.coalesce else "off" for row in rows)),
        ConfigRow("max tokens", tuple(f"{row.max_batch_tokens:,}" for row in rows)),
        ConfigRow("max wait ms", tuple(f"{row.max_wait_ms:g}" for row in rows)),
        ConfigRow("corpus", tuple(row.corpus for row in rows)),
        ConfigRow("measured s", tuple(f"{row.duration_s:.0f}" if row.duration_s else "–" for row in rows)),
        ConfigRow("warm-up s", tuple(f"{opened.run.spec.get('warm_up_s') or 0:g}" for opened in runs)),
    )


def _environment(runs: Sequence[OpenedRun]) -> tuple[ConfigRow, ...]:
    facts = differing([environment_facts(opened.run.environment) for opened in runs])
    rows = [
        ConfigRow(_shown_name(name), tuple(_shown(name, value) for value in values)) for name, values in facts.items()
    ]
    return tuple(sorted(rows, key=lambda row: row.name))


def _shown_name(name: str) -> str:
    """Returns `torch` for `libraries.torch`, and `model id` for `model.id`."""
    return name.removeprefix("libraries.") if name.startswith("libraries.") else name.replace(".", " ")


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "–"
    words = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return words[:_REVISION_CHARACTERS] if name == "git.revision" else words


def _memory_is_comparable(runs: Sequence[OpenedRun]) -> bool:
    """Whether each run's deployment was the first one of its engine process."""
    with_rss = [opened for opened in runs if (opened.report.get("server") or {}).get("rss_bytes")]
    return not any(recorded_deployments_before(opened.report, opened.run.intervals) for opened in with_rss)


def _warnings(runs: Sequence[OpenedRun], environment: Sequence[ConfigRow]) -> tuple[str, ...]:
    """Returns what limits the comparison: differences of environment and load, and runs whose verdict is not ok."""
    warnings = []
    if environment:
        names = ", ".join(row.name for row in environment[:4]) + (", …" if len(environment) > 4 else "")
        warnings.append(f"not the same environment ({names}): it may explain differences of the figures")
    if len({load_name(opened.run.row) for opened in runs}) > 1:
        warnings.append("not the same load: the ratios also contain the effect of the load")
    if not _memory_is_comparable(runs):
        warnings.append("RSS is not compared: an engine process had served other deployments before")
    methods = {(opened.report.get("fidelity") or {}).get("method") for opened in runs if opened.run.row.fidelity}
    if len(methods) > 1:
        warnings.append("not the same fidelity: a measured one, and the cosine of the texts that verify a load")
    for number, opened in enumerate(runs, start=1):
        row = opened.run.row
        if row.verdict != "ok":
            warnings.append(f"run {number} ({row.verdict.replace('_', ' ')}): do not base a decision on it")
    return tuple(warnings)
