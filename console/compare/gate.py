"""A run held against conditions: each holds, fails, or cannot be judged, and one exit code says it all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from console.analysis.differences import differing, environment_facts
from console.analysis.ratios import Ratio, unpaired_ratio
from console.compare.gate_conditions import Condition
from console.compare.run_ratios import block_rates
from console.compare.stored import load_key
from console.model.exit_codes import ExitCode
from console.model.load import P95_FLOOR, P99_FLOOR
from console.store.database import Store
from console.store.labels import load_name
from console.store.read import UNFINISHED, StoredRun, load_run
from console.store.selectors import resolve_set

_FLOORS = {"p95": P95_FLOOR, "p99": P99_FLOOR}

_MIB = 2**20


class WrongBaseline(Exception):
    """The baseline was measured under another load; the message says what to pin instead."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One condition of one run. `holds` None: it cannot be judged, and `note` says why."""

    condition: Condition
    value: float | None
    """In the figure's unit; against a baseline the relative change."""
    holds: bool | None
    note: str = ""
    baseline_run: str = ""
    ratio: Ratio | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """A run and what came of its conditions."""

    run: StoredRun
    outcomes: tuple[Outcome, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The first of the contract's codes that applies; what cannot be judged counts as unstable."""
        match self.run.row.verdict:
            case "failed" | "unfinished":
                return ExitCode.ENGINE_FAILED
            case "client_bound":
                return ExitCode.CLIENT_BOUND
            case "unstable":
                return ExitCode.UNSTABLE
        if any(one.holds is None for one in self.outcomes):
            return ExitCode.UNSTABLE
        regressed = any(one.holds is False for one in self.outcomes) or bool(self.run.row.slo_missed)
        return ExitCode.SLO_MISSED if regressed else ExitCode.OK


def judge_run(store: Store, run: StoredRun, conditions: Sequence[Condition]) -> Gate:
    """Raises StoreError for a baseline that is not there, WrongBaseline for one of another load."""
    return Gate(run, tuple(_outcome(store, run, condition) for condition in conditions))


def _outcome(store: Store, run: StoredRun, condition: Condition) -> Outcome:
    value = figure_of(run, condition.figure)
    if not condition.baseline:
        if value is None:
            return Outcome(condition, None, None, _missing(run, condition.figure))
        return Outcome(condition, value, condition.holds(value), _shaky(run, condition.figure))
    base = _baseline(store, run, condition.baseline)
    before = figure_of(base, condition.figure)
    if base.row.run_id == run.row.run_id:
        note = f"{condition.baseline} is this very run: measure again, or pin an earlier one"
        return Outcome(condition, None, None, note, base.row.run_id)
    if value is None or before is None:
        note = _missing(run if value is None else base, condition.figure)
        return Outcome(condition, None, None, note, base.row.run_id)
    if not before:
        return Outcome(condition, None, None, f"{condition.baseline} has 0 {condition.figure}", base.row.run_id)
    ratio = None
    if condition.figure == "texts_per_s":
        ratio = unpaired_ratio(block_rates(run), block_rates(base))
    change = value / before - 1
    ran, compared = run.row.effective.cell, base.row.effective.cell
    notes = [
        f"{condition.baseline} ran {compared}, this run {ran}" if compared != ran else "",
        _elsewhere(run, base, condition.baseline),
        _shaky(run, condition.figure),
        _shaky(base, condition.figure, f"{condition.baseline}: "),
        _within(ratio, condition),
    ]
    return Outcome(condition, change, condition.holds(change), "; ".join(filter(None, notes)), base.row.run_id, ratio)


def _elsewhere(run: StoredRun, base: StoredRun, name: str) -> str:
    """What differs beside the deployment. The revision of the working folder is what a gate is there to judge."""
    found = differing([environment_facts(base.environment), environment_facts(run.environment)])
    names = [fact for fact in found if not fact.startswith("git")]
    return f"{name} was measured in another environment ({', '.join(names)})" if names else ""


def _within(ratio: Ratio | None, condition: Condition) -> str:
    if ratio is None or ratio.low is None or ratio.high is None:
        return ""
    if ratio.low - 1 <= condition.limit <= ratio.high - 1:
        interval = f"{ratio.low - 1:+.1%} to {ratio.high - 1:+.1%}"
        return f"the limit lies within the interval, {interval}: measure longer to be sure"
    return ""


def _baseline(store: Store, run: StoredRun, name: str) -> StoredRun:
    """Of several runs of that name the newest with the same load, on the same deployment where there is one."""
    runs = resolve_set(store, name)
    wanted = load_key(run.row)
    same = [row for row in runs.rows if load_key(row) == wanted]
    if not same:
        raise WrongBaseline(
            f"{name} was measured under another load ({load_name(runs.rows[-1])}) than {run.row.run_id}"
            f" ({load_name(run.row)}): pin a run of that load (embedconsole runs pin {name} ID)"
        )
    alike = [row for row in same if row.effective.cell == run.row.effective.cell]
    return load_run(store, (alike or same)[-1].run_id)


def figure_of(run: StoredRun, figure: str) -> float | None:
    """In the unit of FIGURES; None where it cannot be stated."""
    row, report = run.row, run.report or {}
    match figure:
        case "texts_per_s" | "fidelity":
            value: Any = getattr(row, figure)
        case "pairs_per_s" | "requests_per_s":
            value = (report.get("throughput") or {}).get(figure)
        case "errors":
            value = row.errors if row.verdict != UNFINISHED else None
        case "rss":
            value = row.rss_bytes / _MIB if row.rss_bytes else None
        case _:
            value = (report.get("latency_ms") or {}).get(figure)
    return None if value is None else float(value)


def _missing(run: StoredRun, figure: str) -> str:
    if floor := _FLOORS.get(figure):
        return f"{figure} needs {floor} requests, {run.row.run_id} has {run.row.latency_n}: measure longer"
    hint = ": measure it with `embedconsole sweep` and fidelity = true" if figure == "fidelity" else ""
    return f"{run.row.run_id} has no {figure}{hint}"


def _shaky(run: StoredRun, figure: str, whose: str = "") -> str:
    """What was not steady, where the figure has a judgement of its own."""
    name = {"texts_per_s": "throughput", "p95": "p95"}.get(figure, "")
    judged = ((run.report or {}).get("verdicts") or {}).get(name) or {}
    return f"{whose}not steady: {judged.get('reason')}" if judged.get("stable") is False else ""
