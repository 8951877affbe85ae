"""The result of a gate as text and as JSON."""

from typing import Any

from console.compare.gate import Gate, Outcome
from console.compare.stored import settings_of
from console.model.exit_codes import ExitCode
from console.model.verdicts import NOT_STEADY, Verdict, verdict_word
from console.store.labels import load_name
from console.store.read import StoredRun


def as_json(result: Gate) -> dict[str, Any]:
    """Returns one object."""
    return {
        "schema_version": 1,
        "run_id": result.run.row.run_id,
        "verdict": result.run.row.verdict,
        "exit_code": int(result.exit_code),
        "slo_missed": bool(result.run.row.slo_missed),
        "conditions": [
            {
                "condition": one.condition.text,
                "figure": one.condition.figure,
                "unit": "ratio" if one.condition.baseline else one.condition.unit,
                "value": None if one.value is None else round(one.value, 5),
                "limit": one.condition.limit,
                "holds": one.holds,
                "baseline_run": one.baseline_run or None,
                "ci_low": None if one.ratio is None or one.ratio.low is None else round(one.ratio.low - 1, 5),
                "ci_high": None if one.ratio is None or one.ratio.high is None else round(one.ratio.high - 1, 5),
                "note": one.note or None,
            }
            for one in result.outcomes
        ],
    }


def as_text(result: Gate) -> str:
    """Returns one line per condition, then the meaning of the exit code."""
    lines = [f"run {result.run.row.run_id}  {load_name(result.run.row)}"]
    for one in result.outcomes:
        mark = {True: "✓", False: "✕", None: "~"}[one.holds]
        lines.append(f"{mark} {one.condition.text:<24} {_value(one)}" + (f"  ({one.note})" if one.note else ""))
    unsettled = verdict_word(result.run.row.verdict) if result.run.row.verdict in NOT_STEADY else "unstable"
    row, code = result.run.row, result.exit_code
    words = {
        ExitCode.OK: "ok",
        ExitCode.SLO_MISSED: "regressed: not every condition holds",
        ExitCode.UNSTABLE: f"{unsettled}: the run cannot be judged, measure longer",
        ExitCode.CLIENT_BOUND: "client bound: the load generator was the bottleneck, the run cannot be judged",
        ExitCode.ENGINE_FAILED: f"the run failed: {row.failure or row.verdict}",
    }
    if row.verdict == Verdict.ERRORS:
        words[ExitCode.ERRORS] = f"errors: {_errors(result.run)}"
    if row.slo_missed:
        lines.append(f"✕ the run missed its own SLO of p95 {settings_of(result.run).get('slo_p95_ms')} ms")
    return "\n".join([*lines, f"gate {words[code]}"])


def _errors(run: StoredRun) -> str:
    judged = ((run.report or {}).get("verdicts") or {}).get("errors") or {}
    return str(judged.get("reason", "too many requests failed"))


def _value(one: Outcome) -> str:
    if one.value is None:
        return "unknown"
    if one.condition.baseline:
        return f"{one.value:+.1%} vs {one.baseline_run}"
    return (
        f"{one.value:,.4g} {one.condition.unit}".rstrip()
        if abs(one.value) < 1000
        else f"{one.value:,.0f} {one.condition.unit}".rstrip()
    )
