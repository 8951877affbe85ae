"""Stored runs are compared pair by pair, with an interval, and never without saying what else differs."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.cli.main import cli, main
from console.measure.measurement import Measurement
from console.measure.result import as_json
from console.model.engine import Deployment, Engine
from console.model.load import LoadSpec, Percentiles
from console.store.database import Store
from console.store.rows import interval_row
from console.store.write import add_intervals, add_tags, begin_run, begin_sweep, finish_run
from tests.unit.console.support.intervals import second
from tests.unit.console.support.made import GOOD, start_of, store_in

FP32 = Deployment("onnx", "fp32", "", "cpu", "fake/MiniLM", 2, 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_in(tmp_path) as opened:
        yield opened


def made(
    run_id: str, requests: int, *, live: Deployment = FP32, batch: int = 32, latency_ms: float = 10.0
) -> Measurement:
    rates = replace(GOOD.rates, texts_per_s=float(requests)) if GOOD.rates else None
    return replace(
        GOOD,
        run_id=run_id,
        spec=replace(GOOD.spec, load=LoadSpec(batch, 4), warm_up_s=0.0),
        engine=Engine(requested=live, effective=live),
        rates=rates,
        latency=Percentiles(10 * requests, latency_ms, latency_ms, latency_ms, latency_ms, latency_ms, latency_ms),
        p95_judgement=GOOD.throughput_judgement,
        errors={},
    )


def keep(store: Store, measurement: Measurement, wobble: int = 1, **more: Any) -> None:
    """Ten seconds of so many requests of one text, give or take `wobble`."""
    rate = round(measurement.rates.texts_per_s) if measurement.rates else 0
    latency_ms = measurement.latency.p50_ms or 0.0
    facts = more.pop("environment", None)
    start = start_of(measurement, **more)
    begin_run(store, start if facts is None else replace(start, environment=facts))
    counts = [rate + wobble * (-1) ** (index // 2) for index in range(10)]
    seconds = [second(index, count, latency_ms) for index, count in enumerate(counts)]
    add_intervals(store, measurement.run_id, [interval_row(one, None, 0.0, 0.0) for one in seconds], 0)
    finish_run(store, measurement.run_id, "2026-11-23T10:00:12Z", as_json(measurement), ())


def compare(store: Store, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["compare", *arguments, "--store", str(store.path)])


def compared(store: Store, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(compare(store, *arguments, "--json").stdout)
    return found


def refusal(store: Store, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *arguments, "--store", str(store.path)])
    assert ended.value.code == 3
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("requests", "wobble", "says"), [(300, 1, "faster"), (100, 1, "slower"), (200, 1, "same"), (210, 60, "undecided")]
)
def test_two_runs_are_faster_slower_the_same_or_undecided(store: Store, requests: int, wobble: int, says: str) -> None:
    keep(store, made("r-1", 200))
    keep(store, made("r-2", requests), wobble, started_at="2026-11-24T10:00:00Z")
    pair = compared(store, "r-1", "last")["comparisons"][0]["pairs"][0]
    assert pair["texts_per_s"]["says"] == says
    assert pair["texts_per_s"]["ci_low"] <= pair["texts_per_s"]["ratio"] <= pair["texts_per_s"]["ci_high"]


def test_latency_is_compared_by_certified_percentiles_alone(store: Store) -> None:
    keep(store, made("r-1", 200, latency_ms=10.0))
    keep(store, made("r-2", 200, latency_ms=20.0))
    keep(store, replace(made("r-3", 12), latency=Percentiles(120, 10.0, 10.0, 10.0, None, None, 12.0)))
    slower, unknown = (one["pairs"][0]["p95_ms"] for one in compared(store, "r-1", "r-2", "r-3")["comparisons"])
    assert (slower["says"], slower["ratio"]) == ("higher", pytest.approx(2.0, rel=0.01))
    assert (unknown["other"], unknown["ratio"], unknown["says"]) == (None, None, "undecided")


def test_the_answers_of_one_burst_make_no_rate_to_compare(store: Store) -> None:
    keep(store, made("r-1", 200))
    keep(store, replace(made("r-2", 200), latency=Percentiles(4, 17e3, 17e3, 18e3, None, None, 18e3)))
    found = compared(store, "r-1", "r-2")["comparisons"][0]["pairs"][0]["texts_per_s"]
    assert (found["other"], found["ratio"], found["says"]) == (None, None, "undecided")


def test_settings_that_differ_are_listed_and_another_environment_is_warned_of(store: Store) -> None:
    keep(store, made("r-1", 200))
    other = {"hash": "e2", "cpu_model": "Other CPU", "cores": 2, "libraries": {"onnxruntime": "9"}}
    keep(store, made("r-2", 300, live=replace(FP32, precision="int8"), batch=1), environment=other)
    found = compared(store, "r-1", "r-2")["comparisons"][0]
    settings = {one["name"]: (one["base"], one["other"]) for one in found["settings"]}
    assert settings["effective.precision"] == ("fp32", "int8")
    assert settings["load.batch"] == (32, 1)
    assert {one["name"] for one in found["environment"]} == {"cpu_model", "libraries.onnxruntime", "model.id"}
    text = compare(store, "r-1", "r-2").stdout
    assert "! the environment differs" in text
    assert "cpu_model Fake CPU → Other CPU" in text


def sweep_of(store: Store, sweep_id: str, name: str, runs: list[Measurement]) -> None:
    begin_sweep(store, sweep_id, name, f"2026-11-2{sweep_id[-1]}T10:00:00Z", 1, len(runs), "")
    for one in runs:
        keep(store, one, sweep_id=sweep_id)


def test_sweeps_are_paired_by_cell_and_summed_up(store: Store) -> None:
    for number, faster in ((1, 1.0), (2, 1.5)):
        runs = [made(f"r-{number}-{batch}", round(200 * faster), batch=batch) for batch in (1, 8, 32)]
        sweep_of(store, f"s-{number}", "quick", runs)
    keep(store, made("r-2-64", 50, batch=64), sweep_id="s-2")
    found = compared(store, "s-1", "quick")["comparisons"][0]
    assert [pair["load"] for pair in found["pairs"]] == ["1 × 4", "8 × 4", "32 × 4"]
    assert found["overall"]["ratio"] == pytest.approx(1.5, rel=0.01)
    assert found["overall"]["says"] == "faster"
    assert found["unpaired"] == ["onnx·fp32, 64 × 4"]
    assert "over 3 loads" in compare(store, "s-1", "quick").stdout


def test_sweeps_of_different_deployments_are_paired_by_load(store: Store) -> None:
    sweep_of(store, "s-1", "a", [made("r-1", 200), made("r-2", 200, batch=1)])
    int8 = replace(FP32, precision="int8")
    sweep_of(store, "s-2", "b", [made("r-3", 400, live=int8), made("r-4", 400, live=int8, batch=1)])
    pairs = compared(store, "s-1", "s-2")["comparisons"][0]["pairs"]
    assert [(pair["base"]["cell"], pair["other"]["cell"]) for pair in pairs] == [("onnx·fp32", "onnx·int8")] * 2


def test_repeats_of_a_cell_are_the_unit_of_its_interval(store: Store) -> None:
    for number, requests in enumerate((200, 210, 190, 300, 315, 285)):
        keep(store, made(f"r-{number}", requests))
        add_tags(store, f"r-{number}", ["old" if number < 3 else "new"])
    pair = compared(store, "old", "new")["comparisons"][0]["pairs"][0]
    assert pair["texts_per_s"]["ratio"] == pytest.approx(1.5)
    assert pair["texts_per_s"]["says"] == "faster"
    assert len(pair["base"]["runs"]) == 3


def test_what_cannot_be_compared_is_refused_with_the_next_step(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    int8, bf16 = (replace(FP32, precision=name) for name in ("int8", "bf16"))
    sweep_of(store, "s-1", "a", [made("r-1", 200), made("r-2", 200, live=int8)])
    sweep_of(store, "s-2", "b", [made("r-3", 200, live=bf16)])
    sweep_of(store, "s-3", "c", [made("r-4", 200, live=bf16, batch=8), made("r-5", 200, live=bf16, batch=4)])
    assert "several deployments" in refusal(store, capsys, "a", "b")
    assert "no load in common" in refusal(store, capsys, "b", "c")
    assert "two to four" in refusal(store, capsys, "r-1")
    assert "`embedconsole runs` lists" in refusal(store, capsys, "r-1", "nothing")
    assert "--rounds applies to a live comparison: add --live" in refusal(store, capsys, "r-1", "r-2", "--rounds", "3")
