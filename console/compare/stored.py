"""Compares stored runs: pairs of the same load, ratios with 95 % intervals, and other differences. Pure.

The first selection is the baseline. The unit of an interval is the block of seconds for a pair of runs (as in
`steady_state.rates`), the repeat for repeated runs, and the pair for the overall ratio.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.analysis.differences import differing, environment_facts
from console.analysis.ratios import Ratio, paired_ratio
from console.compare.run_ratios import has_rate, percentile_ratio, throughput_ratio
from console.model.load import P95_FLOOR
from console.store.labels import cell_name, load_name
from console.store.read import RunRow, StoredRun
from console.store.selectors import Selection

SIDES = "ABCD"
_THROUGHPUT_WORDS = {"more": "faster", "less": "slower"}
_LATENCY_WORDS = {"more": "higher", "less": "lower"}
_p95_ratio = percentile_ratio(95, P95_FLOOR)


class CannotCompare(Exception):
    """No runs form a pair; the message names the reason and what to select instead."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting or fact that differs between the sides."""

    name: str
    base: Any
    other: Any


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure on both sides. `ratio` is other over base."""

    base: float | None
    other: float | None
    ratio: Ratio | None
    verdict: str
    """`faster`, `slower` (throughput), `lower`, `higher` (latency), `same` or `undecided`."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The runs of one load, or of one deployment and load, on both sides."""

    load: str
    base_cell: str
    other_cell: str
    base_runs: tuple[str, ...]
    other_runs: tuple[str, ...]
    texts_per_s: ComparedFigure
    p95_ms: ComparedFigure
    unsteady: tuple[str, ...]
    """Ids of runs whose verdict is not ok."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One selection compared with the baseline."""

    base: Selection
    other: Selection
    pairs: tuple[Pair, ...]
    overall: ComparedFigure | None
    """Throughput over all pairs; None if there is only one pair."""
    unpaired: tuple[str, ...]
    """Cells and loads that only one side has measured."""
    settings: tuple[Difference, ...]
    environment: tuple[Difference, ...]


def compare(
    base: Selection, base_runs: Sequence[StoredRun], other: Selection, other_runs: Sequence[StoredRun]
) -> Comparison:
    """Compares two selections. Raises CannotCompare if they have no pair.

    Runs are paired by deployment and load or, if no deployment is on both sides, by load. Two single runs are a pair.
    """
    matched, unpaired = _matched(base_runs, other_runs)
    if not matched:
        raise CannotCompare(
            f"{base.title} and {other.title} have no load in common: compare runs of the same batch and concurrency"
        )
    pairs = tuple(_pair(group, other_group) for group, other_group in matched)
    overall = None
    if len(pairs) > 1:
        ratio = paired_ratio([pair.texts_per_s.other for pair in pairs], [pair.texts_per_s.base for pair in pairs])
        overall = ComparedFigure(None, None, ratio, _verdict_text(ratio, _THROUGHPUT_WORDS))
    run_pairs = [both for groups in matched for both in zip(*groups, strict=False)]
    settings = [(settings_of(one), settings_of(two)) for one, two in run_pairs]
    environments = [(environment_facts(one.environment), environment_facts(two.environment)) for one, two in run_pairs]
    return Comparison(base, other, pairs, overall, unpaired, _differences(settings), _differences(environments))


def load_key(row: RunRow) -> tuple[Any, ...]:
    """Returns what identifies a load: what was sent, and whether requests shared batches."""
    concurrency = None if row.rate else row.concurrency
    return (row.batch, concurrency, row.rate or None, row.workload, row.corpus, row.stream, row.coalesce)


def _deployment_key(row: RunRow) -> tuple[Any, ...]:
    of = row.requested
    knobs = (row.max_batch_tokens, row.max_wait_ms)
    return (of.backend, of.precision, of.recipe, of.device, of.instances, of.threads, *knobs)


_Matched = list[tuple[list[StoredRun], list[StoredRun]]]


def _matched(base: Sequence[StoredRun], other: Sequence[StoredRun]) -> tuple[_Matched, tuple[str, ...]]:
    if len(base) == len(other) == 1:
        return [(list(base), list(other))], ()

    def deployment_and_load(run: StoredRun) -> tuple[Any, ...]:
        return (_deployment_key(run.row), load_key(run.row))

    def load(run: StoredRun) -> tuple[Any, ...]:
        return load_key(run.row)

    in_both = {deployment_and_load(run) for run in base} & {deployment_and_load(run) for run in other}
    key = deployment_and_load if in_both else load
    base_groups, other_groups = _grouped(base, key), _grouped(other, key)
    if key is load:
        for groups in (base_groups, other_groups):
            for runs in groups.values():
                _refuse_several_deployments(runs)
    matched = [(runs, other_groups[name]) for name, runs in base_groups.items() if name in other_groups]
    unpaired = [
        runs[0]
        for name, runs in (*base_groups.items(), *other_groups.items())
        if name not in base_groups or name not in other_groups
    ]
    return matched, tuple(dict.fromkeys(f"{_cell(run)}, {load_name(run.row)}" for run in unpaired))


def _refuse_several_deployments(runs: Sequence[StoredRun]) -> None:
    """Raises CannotCompare if the runs of one load are of several deployments."""
    cells = dict.fromkeys(_cell(run) for run in runs if _deployment_key(run.row) != _deployment_key(runs[0].row))
    if cells:
        raise CannotCompare(
            f"{load_name(runs[0].row)} was measured on several deployments ({', '.join([_cell(runs[0]), *cells])}), and"
            " none is on both sides: select single runs, or tag runs (embedconsole runs tag ID NAME)"
        )


def _grouped(runs: Sequence[StoredRun], key: Any) -> dict[tuple[Any, ...], list[StoredRun]]:
    groups: dict[tuple[Any, ...], list[StoredRun]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return groups


def _pair(base: Sequence[StoredRun], other: Sequence[StoredRun]) -> Pair:
    return Pair(
        load=load_name(base[0].row) if load_key(base[0].row) == load_key(other[0].row) else _two_loads(base, other),
        base_cell=_cell(base[0]),
        other_cell=_cell(other[0]),
        base_runs=tuple(run.row.run_id for run in base),
        other_runs=tuple(run.row.run_id for run in other),
        texts_per_s=_throughput(base, other),
        p95_ms=_p95(base, other),
        unsteady=tuple(run.row.run_id for run in (*base, *other) if run.row.verdict != "ok"),
    )


def _two_loads(base: Sequence[StoredRun], other: Sequence[StoredRun]) -> str:
    return f"{load_name(base[0].row)} → {load_name(other[0].row)}"


def _throughput(base: Sequence[StoredRun], other: Sequence[StoredRun]) -> ComparedFigure:
    rates = [[run.row.texts_per_s or 0.0 for run in runs if has_rate(run)] for runs in (base, other)]
    count = min(map(len, rates))
    ratio: Ratio | None = None
    if count >= 2:
        ratio = paired_ratio(rates[1][:count], rates[0][:count])
    elif count == 1:
        ratio = throughput_ratio(other[0], base[0]) or paired_ratio(rates[1][:1], rates[0][:1])
    return ComparedFigure(_mean(rates[0]), _mean(rates[1]), ratio, _verdict_text(ratio, _THROUGHPUT_WORDS))


def _p95(base: Sequence[StoredRun], other: Sequence[StoredRun]) -> ComparedFigure:
    latencies = [[run.row.p95_ms for run in runs if run.row.p95_ms is not None] for runs in (base, other)]
    count = min(map(len, latencies))
    ratio: Ratio | None = None
    if count >= 2:
        ratio = paired_ratio(latencies[1][:count], latencies[0][:count])
    elif len(base) == len(other) == 1:
        ratio = _p95_ratio(other[0], base[0])
    return ComparedFigure(_mean(latencies[0]), _mean(latencies[1]), ratio, _verdict_text(ratio, _LATENCY_WORDS))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _verdict_text(ratio: Ratio | None, words: Mapping[str, str]) -> str:
    verdict = ratio.verdict if ratio is not None else "undecided"
    return words.get(verdict, verdict)


def _cell(run: StoredRun) -> str:
    return cell_name(run.row.requested, run.row.effective)


def settings_of(run: StoredRun) -> dict[str, Any]:
    """Returns the settings of a run by name: requested and effective deployment, batching, load, run."""
    row = run.row
    sides = {"requested": row.requested, "effective": row.effective}
    names = ("backend", "precision", "recipe", "device", "model", "instances", "threads")
    deployments = {f"{side}.{name}": getattr(one, name) for side, one in sides.items() for name in names}
    batching = {name: getattr(row, name) for name in ("coalesce", "max_batch_tokens", "max_wait_ms")}
    load = {f"load.{name}": value for name, value in run.spec.get("load", {}).items()}
    rest = {name: value for name, value in run.spec.items() if name != "load"}
    return deployments | batching | load | rest


def _differences(both: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> tuple[Difference, ...]:
    """Returns what differs within any pair, each name once, with the values of its first pair."""
    differences: dict[str, Difference] = {}
    for pair in both:
        for name, (base, other) in differing(pair).items():
            differences.setdefault(name, Difference(name, base, other))
    return tuple(differences.values())
