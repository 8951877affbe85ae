"""The gate: checks a run against conditions. Each holds, fails or cannot be judged; one exit code sums them up."""

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
from console.model.verdicts import NOT_ENDED, RUNNING, exit_code_of
from console.store.database import Store, StoreError
from console.store.labels import load_name
from console.store.read import StoredRun, load_run
from console.store.selectors import resolve_selector

_FLOORS = {"p95": P95_FLOOR, "p99": P99_FLOOR}

_MIB = 2**20


class WrongBaseline(Exception):
    """The baseline was measured under another load; the message names the run to pin instead."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one condition. `holds` is None if it cannot be judged; `note` is the reason."""

    condition: Condition
    value: float | None
    """In the figure's unit; with a baseline, the relative change."""
    holds: bool | None
    note: str = ""
    baseline_run: str = ""
    ratio: Ratio | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """A run and the outcomes of its conditions."""

    run: StoredRun
    outcomes: tuple[Outcome, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The first exit code of the contract that applies; a condition that cannot be judged counts as unstable."""
        if (code := exit_code_of({self.run.row.verdict})) is not ExitCode.OK:
            return code
        if any(one.holds is None for one in self.outcomes):
            return ExitCode.UNSTABLE
        regressed = any(one.holds is False for one in self.outcomes) or bool(self.run.row.slo_missed)
        return ExitCode.SLO_MISSED if regressed else ExitCode.OK


def judge_run(store: Store, run: StoredRun, conditions: Sequence[Condition]) -> Gate:
    """Checks a run. Raises StoreError for an unknown baseline, and WrongBaseline for one with another load.

    Raises StoreError also for a run that is still being measured.
    """
    if run.row.verdict == RUNNING:
        raise StoreError(f"{run.row.run_id} is still being measured: wait until it ends")
    return Gate(run, tuple(_outcome(store, run, condition) for condition in conditions))


def _outcome(store: Store, run: StoredRun, condition: Condition) -> Outcome:
    value = figure_of(run, condition.figure)
    if not condition.baseline:
        if value is None:
            return Outcome(condition, None, None, _missing_note(run, condition.figure))
        return Outcome(condition, value, condition.holds(value), _unsteady_note(run, condition.figure))
    base = _baseline(store, run, condition.baseline)
    base_value = figure_of(base, condition.figure)
    if base.row.run_id == run.row.run_id:
        note = f"{condition.baseline} is this run itself: measure again, or pin an earlier run"
        return Outcome(condition, None, None, note, base.row.run_id)
    if value is None or base_value is None:
        note = _missing_note(run if value is None else base, condition.figure)
        return Outcome(condition, None, None, note, base.row.run_id)
    if not base_value:
        return Outcome(condition, None, None, f"{condition.baseline} has 0 {condition.figure}", base.row.run_id)
    ratio = None
    if condition.figure == "texts_per_s":
        ratio = unpaired_ratio(block_rates(run), block_rates(base))
    change = value / base_value - 1
    cell, base_cell = run.row.effective.cell, base.row.effective.cell
    notes = [
        f"{condition.baseline} ran {base_cell}, this run {cell}" if base_cell != cell else "",
        _environment_note(run, base, condition.baseline),
        _unsteady_note(run, condition.figure),
        _unsteady_note(base, condition.figure, f"{condition.baseline}: "),
        _interval_note(ratio, condition),
    ]
    return Outcome(condition, change, condition.holds(change), "; ".join(filter(None, notes)), base.row.run_id, ratio)


def _environment_note(run: StoredRun, base: StoredRun, name: str) -> str:
    """Returns what differs besides the deployment. The git revision may differ: a gate exists to judge it."""
    names = [
        fact
        for fact in differing([environment_facts(base.environment), environment_facts(run.environment)])
        if not fact.startswith("git")
    ]
    return f"{name} was measured in another environment ({', '.join(names)})" if names else ""


def _interval_note(ratio: Ratio | None, condition: Condition) -> str:
    if ratio is None or ratio.low is None or ratio.high is None:
        return ""
    if ratio.low - 1 <= condition.limit <= ratio.high - 1:
        interval = f"{ratio.low - 1:+.1%} to {ratio.high - 1:+.1%}"
        return f"the limit lies within the interval, {interval}: measure longer to be sure"
    return ""


def _baseline(store: Store, run: StoredRun, name: str) -> StoredRun:
    """Returns the newest run of the selector with the same load, if possible of the same deployment."""
    selection = resolve_selector(store, name)
    same_load = [row for row in selection.rows if load_key(row) == load_key(run.row)]
    if not same_load:
        raise WrongBaseline(
            f"{name} was measured under another load ({load_name(selection.rows[-1])}) than {run.row.run_id}"
            f" ({load_name(run.row)}): pin a run with that load (embedconsole runs pin {name} ID)"
        )
    same_cell = [row for row in same_load if row.effective.cell == run.row.effective.cell]
    return load_run(store, (same_cell or same_load)[-1].run_id)


def figure_of(run: StoredRun, figure: str) -> float | None:
    """Returns a figure of a run in its unit in FIGURES; None if it cannot be stated."""
    row, report = run.row, run.report or {}
    match figure:
        case "texts_per_s" | "fidelity":
            value: Any = getattr(row, figure)
        case "pairs_per_s" | "requests_per_s":
            value = (report.get("throughput") or {}).get(figure)
        case "errors":
            value = row.errors if row.verdict not in NOT_ENDED else None
        case "rss":
            value = row.rss_bytes / _MIB if row.rss_bytes else None
        case _:
            value = (report.get("latency_ms") or {}).get(figure)
    return None if value is None else float(value)


def _missing_note(run: StoredRun, figure: str) -> str:
    if floor := _FLOORS.get(figure):
        return f"{figure} needs {floor} requests, {run.row.run_id} has {run.row.latency_n}: measure longer"
    hint = ": measure it with `embedconsole sweep` and fidelity = true" if figure == "fidelity" else ""
    return f"{run.row.run_id} has no {figure}{hint}"


def _unsteady_note(run: StoredRun, figure: str, prefix: str = "") -> str:
    """Returns why the figure was not steady; empty if it was, or if it is not judged."""
    name = {"texts_per_s": "throughput", "p95": "p95"}.get(figure, "")
    judgement = ((run.report or {}).get("verdicts") or {}).get(name) or {}
    return f"{prefix}not steady: {judgement.get('reason')}" if judgement.get("stable") is False else ""
