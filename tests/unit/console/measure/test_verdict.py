"""One rule gives a run its verdict, and the verdict gives the exit code: in runs, sweeps, searches and gates."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.analysis.steady_state import Judgement
from console.analysis.validity import Lag
from console.cli.main import cli
from console.commands import compare_live, run, sweep
from console.commands.max_load import as_text as max_load_text
from console.measure.max_load import MaxLoad, MaxLoadSpec, limit_of
from console.measure.max_load_search import Limit, Search
from console.measure.measurement import Measurement, summarise
from console.measure.result import as_json, verdict_sentence
from console.measure.spec import RunSpec
from console.model.engine import Engine
from console.model.load import LoadSpec, Percentiles
from console.output.run import as_text
from console.output.sweep import as_text as sweep_text
from console.report.rows import rows_of
from console.store.read import list_runs, load_run
from console.sweep.point import SweepPoint
from console.sweep.state import PointState, PointStatus, SweepState, figures_of_measurement
from tests.unit.console.support.intervals import second
from tests.unit.console.support.made import GOOD, SHAKY, STEADY, record, store_in

FINE = replace(GOOD, errors={}, p95_judgement=STEADY)
SHORT = Judgement(False, "too short to judge: 0 of 3 windows of at least 1 s and 50 requests", short=True)
OPEN = RunSpec(LoadSpec(1, rate=100.0), slo_p95_ms=150.0)
LATE = Lag(1000, 1.0, 5.0, 9.0)

CASES: tuple[tuple[dict[str, Any], str, int], ...] = (
    ({}, "ok", 0),
    ({"errors": {"UNAVAILABLE": 1}, "latency": Percentiles(999, 9, 9, 9, 9, 9, 9)}, "ok", 0),
    ({"errors": {"UNAVAILABLE": 2}, "latency": Percentiles(999, 9, 9, 9, 9, 9, 9)}, "errors", 1),
    ({"errors": {"RESOURCE_EXHAUSTED": 1}}, "errors", 1),
    ({"spec": RunSpec(LoadSpec(1, rate=40.0)), "dropped": 1}, "errors", 1),
    ({"throughput_judgement": SHORT}, "too_short", 2),
    ({"throughput_judgement": SHAKY}, "unstable", 2),
    ({"throughput_judgement": SHORT, "little": SHAKY}, "unstable", 2),
    ({"throughput_judgement": SHAKY, "errors": {"UNAVAILABLE": 50}}, "errors", 1),
    ({"saturated": True, "errors": {"UNAVAILABLE": 50}}, "client_bound", 4),
    ({"failure": "the engine was lost", "saturated": True, "errors": {"UNAVAILABLE": 50}}, "failed", 5),
    ({"spec": OPEN, "saturated": True, "lag": LATE}, "ok", 0),
    ({"spec": replace(OPEN, slo_p95_ms=100.0), "saturated": True, "lag": LATE}, "client_bound", 4),
    ({"spec": replace(OPEN, slo_p95_ms=None), "saturated": True, "lag": LATE}, "client_bound", 4),
)


@pytest.mark.parametrize(("changes", "verdict", "code"), CASES)
def test_a_run_has_one_verdict_and_its_exit_code_everywhere(
    changes: dict[str, Any], verdict: str, code: int, tmp_path: Path
) -> None:
    measurement = replace(FINE, **changes)
    assert (str(measurement.verdict), run.exit_code(measurement)) == (verdict, code)
    with store_in(tmp_path) as store:
        record(store, measurement)
        (row,) = list_runs(store)
        (in_report,) = rows_of([load_run(store, "r-1")])
    assert (row.verdict, in_report.verdict) == (verdict, verdict)
    assert bool(in_report.reason) is (verdict != "ok")
    judged = CliRunner().invoke(cli, ["gate", "texts_per_s>1", "--store", str(tmp_path / "runs.sqlite")])
    assert judged.exit_code == code, judged.output
    shown = CliRunner().invoke(cli, ["runs", "--verdict", verdict, "--store", str(tmp_path / "runs.sqlite")])
    assert verdict.replace("_", " ") in shown.stdout
    point = PointState(
        SweepPoint(measurement.spec, measurement.engine.requested),
        PointStatus.FAILED if verdict == "failed" else PointStatus.DONE,
        figures_of_measurement(measurement),
    )
    assert sweep.exit_code(SweepState("s-1", "test", (point,))) == code


def test_the_verdict_errors_names_the_share_and_the_code_that_dominates() -> None:
    failing = replace(FINE, errors={"UNAVAILABLE": 4, "RESOURCE_EXHAUSTED": 16}, latency=Percentiles(380, 9, 9, 9, 9))
    sentence = "20 of 400 requests failed (5.0 %), most of them with RESOURCE_EXHAUSTED (16)"
    assert f"errors: {sentence}" in verdict_sentence(failing)
    assert f"verdict     errors: {sentence}" in as_text(failing)
    assert as_json(failing)["verdicts"]["errors"] == {
        "holds": False, "ratio": 0.05, "code": "RESOURCE_EXHAUSTED", "reason": sentence,
    }  # fmt: skip


def test_arrivals_that_were_dropped_count_as_errors_and_are_named() -> None:
    dropping = replace(FINE, spec=RunSpec(LoadSpec(1, rate=40.0)), dropped=100, errors={"UNAVAILABLE": 1})
    assert "101 of 501 requests failed (20.2 %), most of them dropped before they were sent (100)" in verdict_sentence(
        dropping
    )
    assert as_json(dropping)["verdicts"]["errors"]["code"] == "dropped"


def test_a_short_run_says_which_duration_would_do() -> None:
    brief = replace(FINE, throughput_judgement=SHORT, latency=Percentiles(140, 99.0, 98.0))
    assert verdict_sentence(brief) == ("too short: throughput needs about 15 s; use --duration 15s, or --duration auto")


def test_two_answers_are_too_short_for_a_verdict_and_not_unstable() -> None:
    found = summarise(RunSpec(LoadSpec(1, 1)), Engine(), [second(0, 1), second(1, 0)], (), False, "")
    assert str(found.verdict) == "too_short"


def test_the_old_verdict_of_a_stored_run_is_shown_as_it_was_written(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store, FINE)
        with store.writing() as connection:
            connection.execute("UPDATE run SET verdict = 'unstable'")
        assert list_runs(store)[0].verdict == "unstable"
    shown = CliRunner().invoke(cli, ["runs", "--store", str(tmp_path / "runs.sqlite")])
    assert "~ unstable" in shown.stdout


def winner_of(measurement: Measurement) -> MaxLoad:
    search = Search(MaxLoadSpec(LoadSpec(1), 150.0).bounds, {100.0: [Limit.NONE, Limit.NONE]})
    return MaxLoad(MaxLoadSpec(LoadSpec(1), 150.0), search, [(100.0, Limit.NONE, measurement)], measurement)


def test_max_load_gives_its_winner_the_verdict_that_the_run_has() -> None:
    late = replace(FINE, spec=OPEN, saturated=True, lag=LATE)
    found = winner_of(late)
    assert (str(late.verdict), found.exit_code) == ("ok", 0)
    assert f"verdict     {verdict_sentence(late)}" in max_load_text(found)
    assert "some requests were sent late; SLO met even including that delay" in verdict_sentence(late)


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"dropped": 1}, Limit.ERRORS),
        ({"errors": {"RESOURCE_EXHAUSTED": 1}}, Limit.ERRORS),
        ({"dropped": 1, "saturated": True, "client_cpu_cores": 0.98}, Limit.CLIENT),
    ],
)
def test_a_level_at_which_requests_fail_or_are_dropped_does_not_hold(changes: dict[str, Any], limit: Limit) -> None:
    assert limit_of(replace(FINE, spec=OPEN, **changes), 150.0) is limit


def test_a_live_comparison_with_failing_requests_exits_with_1() -> None:
    failing = figures_of_measurement(replace(FINE, errors={"UNAVAILABLE": 50}))
    point = PointState(SweepPoint(FINE.spec, FINE.engine.requested), PointStatus.DONE, failing)
    assert compare_live.exit_code(SweepState("s-1", "live", (point,))) == 1


def test_a_sweep_names_cells_that_are_too_short_in_words_of_their_own() -> None:
    brief = figures_of_measurement(replace(FINE, throughput_judgement=SHORT))
    point = PointState(SweepPoint(FINE.spec, FINE.engine.requested), PointStatus.DONE, brief)
    text = sweep_text(SweepState("s-1", "test", (point,)), [point.point])
    assert "~ too short" in text
    assert "~ 1 not steady" in text
