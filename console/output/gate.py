"""A gate's judgement as text and as JSON."""

from typing import Any

from console.compare.gate import Gate, Outcome
from console.compare.stored import settings_of
from console.model.exit_codes import ExitCode
from console.store.labels import load_name


def as_json(found: Gate) -> dict[str, Any]:
    """One object."""
    return {
        "schema_version": 1,
        "run_id": found.run.row.run_id,
        "verdict": found.run.row.verdict,
        "exit_code": int(found.exit_code),
        "slo_missed": bool(found.run.row.slo_missed),
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
            for one in found.outcomes
        ],
    }


def as_text(found: Gate) -> str:
    """A line a condition, then what the exit code means."""
    lines = [f"run {found.run.row.run_id}  {load_name(found.run.row)}"]
    for one in found.outcomes:
        mark = {True: "✓", False: "✕", None: "~"}[one.holds]
        lines.append(f"{mark} {one.condition.text:<24} {_value(one)}" + (f"  ({one.note})" if one.note else ""))
    words = {
        ExitCode.OK: "ok",
        ExitCode.SLO_MISSED: "regressed: not every condition holds",
        ExitCode.UNSTABLE: "unstable: it cannot be judged",
        ExitCode.CLIENT_BOUND: "the load driver was the bottleneck: it cannot be judged",
        ExitCode.ENGINE_FAILED: f"the run failed: {found.run.row.failure or found.run.row.verdict}",
    }
    if found.run.row.slo_missed:
        lines.append(f"✕ the run missed its own SLO of p95 {settings_of(found.run).get('slo_p95_ms')} ms")
    return "\n".join([*lines, f"gate {words[found.exit_code]}"])


def _value(one: Outcome) -> str:
    if one.value is None:
        return "not known"
    if one.condition.baseline:
        return f"{one.value:+.1%} against {one.baseline_run}"
    return (
        f"{one.value:,.4g} {one.condition.unit}".rstrip()
        if abs(one.value) < 1000
        else f"{one.value:,.0f} {one.condition.unit}".rstrip()
    )
