"""A gate reads conditions, judges a stored run by them, and exits with the contract's codes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.analysis.steady_state import Rates
from console.cli.main import cli, main
from console.compare.gate_conditions import Condition, ConditionError, parse_condition
from console.measure.measurement import Measurement
from console.measure.result import as_json
from console.model.load import LoadSpec, Percentiles
from console.store.database import Store
from console.store.read import RunFilter, list_runs
from console.store.write import begin_run, finish_run, pin_tag
from tests.unit.console.support.made import GOOD, STEADY, record, start_of, store_in


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_in(tmp_path) as opened:
        yield opened


def measured(run_id: str, texts_per_s: float = 1280.0, **changes: Any) -> Measurement:
    rates = Rates(texts_per_s / 32, texts_per_s, 0.0, 0.98 * texts_per_s, 1.02 * texts_per_s)
    return replace(GOOD, run_id=run_id, rates=rates, p95_judgement=STEADY, errors={}, **changes)


def gate(store: Store, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["gate", *arguments, "--store", str(store.path)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p95<120ms", ("p95", "<", 120.0, "")),
        ("p95_ms <= 0.12 s", ("p95", "<=", 120.0, "")),
        ("texts_per_s>1_000", ("texts_per_s", ">", 1000.0, "")),
        ("texts_per_s>-5%@main", ("texts_per_s", ">", -0.05, "main")),
        ("p99 < +10 % @ r-1", ("p99", "<", 0.1, "r-1")),
        ("rss<1.5GiB", ("rss", "<", 1536.0, "")),
        ("fidelity>=.995", ("fidelity", ">=", 0.995, "")),
    ],
)
def test_conditions_are_read_with_their_units(text: str, expected: tuple[str, str, float, str]) -> None:
    figure, comparison, limit, baseline = expected
    found = parse_condition(text)
    assert found == Condition(text, figure, comparison, found.limit, baseline)
    assert found.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("fidelty<1", 0, "did you mean fidelity?"),
        ("<120", 0, "a figure comes first"),
        ("p95=120", 3, "one of <= >= < >"),
        ("p95<fast", 4, "a number belongs here"),
        ("p95<120km", 7, "one of ms, s, us"),
        ("texts_per_s>100ms", 15, "has no unit"),
        ("texts_per_s>-5%", 15, "@NAME belongs here"),
        ("texts_per_s>-5%@", 16, "the baseline's name"),
        ("texts_per_s>-5@main", 14, "% belongs before @"),
    ],
)
def test_what_cannot_be_read_is_pointed_at(text: str, place: int, says: str) -> None:
    with pytest.raises(ConditionError) as refused:
        parse_condition(text)
    message, shown, caret = str(refused.value).split("\n")
    assert says in message
    assert shown == f"  {text}"
    assert caret.index("^") == place + 2


@pytest.mark.parametrize(
    ("conditions", "code"),
    [
        (["p95<120.5ms", "errors<=0"], 0),
        (["p95<100ms"], 1),
        (["p99<1s"], 2),
        (["fidelity>0.9", "p95<1ms", "p99<1s"], 2),
    ],
)
def test_the_exit_code_is_the_first_that_applies(store: Store, conditions: list[str], code: int) -> None:
    record(store, measured("r-1"))
    assert gate(store, *conditions).exit_code == code


def test_a_baseline_of_several_deployments_gives_the_one_that_ran_and_another_one_is_told(store: Store) -> None:
    fp32 = replace(GOOD.engine, effective=replace(GOOD.engine.effective, precision="fp32", recipe="plain"))
    record(store, measured("r-1"))
    record(store, measured("r-2", engine=fp32), started_at="2026-11-24T10:00:00Z")
    record(store, measured("r-3"), started_at="2026-11-25T10:00:00Z")
    pin_tag(store, ["r-1", "r-2"], "main")
    pin_tag(store, ["r-2"], "other")
    assert "vs r-1" in gate(store, "texts_per_s>-5%@main").stdout
    assert "other ran onnx·fp32, this run onnx·int8·dynamic" in gate(store, "texts_per_s>-5%@other").stdout


def test_a_baseline_of_another_machine_is_told_but_not_one_of_another_revision(store: Store) -> None:
    place = {"hash": "e1", "cpu_model": "Fake CPU", "cores": 2, "git": {"revision": "1234", "dirty": False}}
    elsewhere = place | {"hash": "e2", "cpu_model": "Other CPU", "git": {"revision": "5678", "dirty": True}}
    later = place | {"hash": "e3", "git": {"revision": "5678", "dirty": False}}
    for number, facts in enumerate((place, elsewhere, later), start=1):
        measurement = measured(f"r-{number}")
        begin_run(store, replace(start_of(measurement, f"2026-11-2{number}T10:00:00Z"), environment=facts))
        finish_run(store, measurement.run_id, "2026-11-29T10:00:00Z", as_json(measurement), ())
        pin_tag(store, [measurement.run_id], f"pin-{number}")
    told = "pin-2 was measured in another environment (cpu_model)"
    assert told in gate(store, "texts_per_s>-5%@pin-2").stdout
    assert "another environment" not in gate(store, "texts_per_s>-5%@pin-1").stdout


def test_a_run_is_not_held_against_itself(store: Store) -> None:
    record(store, measured("r-1"))
    pin_tag(store, ["r-1"], "main")
    found = gate(store, "texts_per_s>-5%@main")
    assert found.exit_code == 2
    assert "main is this run itself: measure again, or pin an earlier run" in found.stdout


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"failure": "the engine was lost"}, 5),
        ({"saturated": True}, 4),
        ({"throughput_judgement": GOOD.p95_judgement}, 2),
    ],
)
def test_a_run_that_proves_nothing_does_not_pass(store: Store, changes: dict[str, Any], code: int) -> None:
    record(store, measured("r-1", **changes))
    assert gate(store, "texts_per_s>1").exit_code == code


def test_a_run_that_missed_its_own_slo_does_not_pass(store: Store) -> None:
    record(store, measured("r-1", spec=replace(GOOD.spec, slo_p95_ms=100.0)))
    found = gate(store, "texts_per_s>1")
    assert found.exit_code == 1
    assert "missed its own SLO" in found.stdout


def test_a_percentage_is_a_change_against_the_pinned_baseline(store: Store) -> None:
    record(store, measured("r-1", 1000.0))
    record(store, measured("r-2", 940.0), started_at="2026-11-24T10:00:00Z")
    pinned = CliRunner().invoke(cli, ["runs", "--store", str(store.path), "pin", "main", "r-1"])
    assert pinned.exit_code == 0
    assert gate(store, "texts_per_s>-10%@main").exit_code == 0
    found = gate(store, "last", "texts_per_s>-5%@main", "--json")
    assert found.exit_code == 1
    (one,) = json.loads(found.stdout)["conditions"]
    assert (one["value"], one["baseline_run"], one["holds"]) == (-0.06, "r-1", False)


def test_pinning_moves_the_name(store: Store) -> None:
    for number in (1, 2):
        record(store, measured(f"r-{number}"))
        CliRunner().invoke(cli, ["runs", "--store", str(store.path), "pin", "main", f"r-{number}"])
    assert [row.run_id for row in list_runs(store, RunFilter(tag="main"))] == ["r-2"]


def test_of_a_baseline_of_many_runs_the_one_of_the_same_load_counts(store: Store) -> None:
    record(store, measured("r-1", 1000.0))
    record(store, measured("r-2", 100.0, spec=replace(GOOD.spec, load=LoadSpec(1, 1))))
    record(store, measured("r-3", 1000.0))
    CliRunner().invoke(cli, ["runs", "--store", str(store.path), "pin", "main", "r-1", "r-2"])
    (one,) = json.loads(gate(store, "r-3", "texts_per_s>-5%@main", "--json").stdout)["conditions"]
    assert one["baseline_run"] == "r-1"


def refused(store: Store, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["gate", *arguments, "--store", str(store.path)])
    assert ended.value.code == 3
    return capsys.readouterr().err


def test_bad_input_is_usage_with_the_next_step(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    record(store, measured("r-1"))
    record(store, measured("r-2", spec=replace(GOOD.spec, load=LoadSpec(1, 1))))
    assert "at least one condition" in refused(store, capsys, "last")
    assert "did you mean errors" in refused(store, capsys, "r-1", "error<1")
    assert "no run, sweep or tag 'nobody'" in refused(store, capsys, "r-1", "p95<1%@nobody")
    assert "pin a run with that load" in refused(store, capsys, "r-1", "p95<1%@r-2")
    assert "no run 'r-9'" in refused(store, capsys, "r-9", "p95<1")


def test_a_p95_below_its_floor_cannot_be_judged(store: Store) -> None:
    record(store, measured("r-1", latency=Percentiles(60, 9.0, 9.0, 9.0, None, None, 11.0)))
    found = gate(store, "p95<100ms")
    assert found.exit_code == 2
    assert "p95 needs 130 requests, r-1 has 60" in found.stdout


def test_memory_is_not_held_against_that_of_a_process_that_had_served_other_deployments(store: Store) -> None:
    record(store, measured("r-base", deployments_before=0))
    record(store, measured("r-new", deployments_before=2))
    pin_tag(store, ["r-base"], "main")
    outcome = gate(store, "r-new", "rss<+10%@main")
    assert outcome.exit_code == 2
    assert "RSS cannot be compared" in outcome.output
    alone = gate(store, "r-new", "rss<1GiB")
    assert alone.exit_code == 0
    assert "RSS was measured after 2 other deployments in this process" in alone.output
