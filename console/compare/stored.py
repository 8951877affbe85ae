"""Stored runs compared: pairs of the same load, ratios with their intervals, and what else differs. Pure.

The first of the sets is the base. Within a pair of runs the unit is the block of seconds (as in `statistics.rates`);
over repeats it is the repeat, and over many pairs the pair.
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
from console.store.selectors import RunSet

SIDES = "ABCD"
_SPEEDS = {"more": "faster", "less": "slower"}
_DELAYS = {"more": "higher", "less": "lower"}
_p95_ratio = percentile_ratio(95, P95_FLOOR)


class CannotCompare(Exception):
    """There is nothing to pair; the message says why and what to name instead."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting or fact that is not the same on both sides."""

    name: str
    base: Any
    other: Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure on both sides. `ratio` is other over base."""

    base: float | None
    other: float | None
    ratio: Ratio | None
    says: str
    """`faster`, `slower` (throughput), `lower`, `higher` (latency), `same` or `undecided`."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The runs of one load on both sides."""

    load: str
    base_cell: str
    other_cell: str
    base_runs: tuple[str, ...]
    other_runs: tuple[str, ...]
    texts_per_s: Finding
    p95_ms: Finding
    unsteady: tuple[str, ...]
    """Ids of runs whose verdict is not ok."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One set against the base."""

    base: RunSet
    other: RunSet
    pairs: tuple[Pair, ...]
    overall: Finding | None
    """Throughput over all pairs; None where there is one pair."""
    unpaired: tuple[str, ...]
    """What only one side has measured."""
    settings: tuple[Difference, ...]
    environment: tuple[Difference, ...]


def compare(base: RunSet, base_runs: Sequence[StoredRun], other: RunSet, other_runs: Sequence[StoredRun]) -> Comparison:
    """Pairs by deployment and load, else by load alone; two single runs are always a pair. Raises CannotCompare."""
    matched, unpaired = _matched(base_runs, other_runs)
    if not matched:
        raise CannotCompare(
            f"{base.title} and {other.title} have no load in common: compare runs of the same batch and concurrency"
        )
    pairs = tuple(_pair(ours, theirs) for ours, theirs in matched)
    overall = None
    if len(pairs) > 1:
        ratio = paired_ratio([pair.texts_per_s.other for pair in pairs], [pair.texts_per_s.base for pair in pairs])
        overall = Finding(None, None, ratio, _verdict_text(ratio, _SPEEDS))
    both = [(one, two) for ours, theirs in matched for one, two in zip(ours, theirs, strict=False)]
    return Comparison(
        base, other, pairs, overall, unpaired,
        _differences([(settings_of(one), settings_of(two)) for one, two in both]),
        _differences([(environment_facts(one.environment), environment_facts(two.environment)) for one, two in both]),
    )  # fmt: skip


def load_key(row: RunRow) -> tuple[Any, ...]:
    """What was sent, and whether requests shared batches."""
    concurrency = None if row.rate else row.concurrency
    return (row.batch, concurrency, row.rate or None, row.workload, row.corpus, row.stream, row.coalesce)


def _deployment_key(row: RunRow) -> tuple[Any, ...]:
    asked = row.requested
    knobs = (row.max_batch_tokens, row.max_wait_ms)
    return (asked.backend, asked.precision, asked.recipe, asked.device, asked.instances, asked.threads, *knobs)


_Matched = list[tuple[list[StoredRun], list[StoredRun]]]


def _matched(base: Sequence[StoredRun], other: Sequence[StoredRun]) -> tuple[_Matched, tuple[str, ...]]:
    if len(base) == len(other) == 1:
        return [(list(base), list(other))], ()

    def both(run: StoredRun) -> tuple[Any, ...]:
        return (_deployment_key(run.row), load_key(run.row))

    def load(run: StoredRun) -> tuple[Any, ...]:
        return load_key(run.row)

    key = both if {both(run) for run in base} & {both(run) for run in other} else load
    ours, theirs = _grouped(base, key), _grouped(other, key)
    if key is load:
        for groups in (ours, theirs):
            for runs in groups.values():
                _refuse_mixture(runs)
    matched = [(ours[name], theirs[name]) for name in ours if name in theirs]
    alone = [runs[0] for name, runs in (*ours.items(), *theirs.items()) if name not in ours or name not in theirs]
    return matched, tuple(dict.fromkeys(f"{_cell(run)}, {load_name(run.row)}" for run in alone))


def _refuse_mixture(runs: Sequence[StoredRun]) -> None:
    cells = dict.fromkeys(_cell(run) for run in runs if _deployment_key(run.row) != _deployment_key(runs[0].row))
    if cells:
        raise CannotCompare(
            f"{load_name(runs[0].row)} was measured on several deployments ({', '.join([_cell(runs[0]), *cells])}), and"
            " none is on both sides: name single runs, or tag those you mean (embedconsole runs tag ID NAME)"
        )


def _grouped(runs: Sequence[StoredRun], key: Any) -> dict[tuple[Any, ...], list[StoredRun]]:
    groups: dict[tuple[Any, ...], list[StoredRun]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return groups


def _pair(base: Sequence[StoredRun], other: Sequence[StoredRun]) -> Pair:
    speeds, p95 = _throughput(base, other), _p95(base, other)
    return Pair(
        load=load_name(base[0].row) if load_key(base[0].row) == load_key(other[0].row) else _two_loads(base, other),
        base_cell=_cell(base[0]),
        other_cell=_cell(other[0]),
        base_runs=tuple(run.row.run_id for run in base),
        other_runs=tuple(run.row.run_id for run in other),
        texts_per_s=speeds,
        p95_ms=p95,
        unsteady=tuple(run.row.run_id for run in (*base, *other) if run.row.verdict != "ok"),
    )


def _two_loads(base: Sequence[StoredRun], other: Sequence[StoredRun]) -> str:
    return f"{load_name(base[0].row)} → {load_name(other[0].row)}"


def _throughput(base: Sequence[StoredRun], other: Sequence[StoredRun]) -> Finding:
    speeds = [[run.row.texts_per_s or 0.0 for run in runs if has_rate(run)] for runs in (base, other)]
    ratio: Ratio | None
    if min(map(len, speeds)) >= 2:
        count = min(map(len, speeds))
        ratio = paired_ratio(speeds[1][:count], speeds[0][:count])
    elif min(map(len, speeds)) == 1:
        ratio = throughput_ratio(other[0], base[0])
        ratio = ratio or paired_ratio(speeds[1][:1], speeds[0][:1])
    else:
        ratio = None
    return Finding(_mean(speeds[0]), _mean(speeds[1]), ratio, _verdict_text(ratio, _SPEEDS))


def _p95(base: Sequence[StoredRun], other: Sequence[StoredRun]) -> Finding:
    delays = [[run.row.p95_ms for run in runs if run.row.p95_ms is not None] for runs in (base, other)]
    ratio: Ratio | None = None
    if min(map(len, delays)) >= 2:
        count = min(map(len, delays))
        ratio = paired_ratio(delays[1][:count], delays[0][:count])
    elif len(base) == len(other) == 1:
        ratio = _p95_ratio(other[0], base[0])
    return Finding(_mean(delays[0]), _mean(delays[1]), ratio, _verdict_text(ratio, _DELAYS))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _verdict_text(ratio: Ratio | None, words: Mapping[str, str]) -> str:
    found = ratio.verdict if ratio is not None else "undecided"
    return words.get(found, found)


def _cell(run: StoredRun) -> str:
    return cell_name(run.row.requested, run.row.effective)


def settings_of(run: StoredRun) -> dict[str, Any]:
    """Everything that was asked for or came of it: deployment, knobs, load."""
    row = run.row
    sides = {"requested": row.requested, "effective": row.effective}
    names = ("backend", "precision", "recipe", "device", "model", "instances", "threads")
    found = {f"{side}.{name}": getattr(live, name) for side, live in sides.items() for name in names}
    for name in ("coalesce", "max_batch_tokens", "max_wait_ms"):
        found[name] = getattr(row, name)
    load = {f"load.{name}": value for name, value in run.spec.get("load", {}).items()}
    rest = {name: value for name, value in run.spec.items() if name != "load"}
    return found | load | rest


def _differences(both: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> tuple[Difference, ...]:
    """What differs within any pair, told once; where pairs differ differently, the first stands for all."""
    found: dict[str, Difference] = {}
    for pair in both:
        for name, (ours, theirs) in differing(pair).items():
            found.setdefault(name, Difference(name, ours, theirs))
    return tuple(found.values())
