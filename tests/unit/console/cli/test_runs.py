"""`embedconsole runs`: the history is found, marked and cleaned up from the shell."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.analysis.steady_state import Judgement
from console.analysis.validity import Lag
from console.cli.main import cli, main
from console.store.database import Store
from console.store.rows import interval_row
from console.store.write import add_intervals, add_note, add_tags, begin_run, begin_sweep
from tests.unit.console.support.intervals import second
from tests.unit.console.support.made import GOOD, record, start_of, store_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with store_in(tmp_path) as store:
        record(store)
        record(store, replace(GOOD, run_id="r-2", failure="the engine was lost"), started_at="2026-11-24T10:00:00Z")
        begin_run(store, start_of(replace(GOOD, run_id="r-3"), started_at="2026-11-25T10:00:00Z"))
    return tmp_path / "runs.sqlite"


def runs(path: Path, *arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["runs", "--store", str(path), *arguments], input=answer)


def test_the_list_is_newest_first_with_marks_and_a_dash_for_what_cannot_be_stated(path: Path) -> None:
    head, *lines = runs(path).stdout.splitlines()
    assert head.split()[:2] == ["run", "when"]
    assert [line.split()[0] for line in lines] == ["r-3", "r-2", "r-1"]
    assert "… unfinished" in lines[0]
    assert "–" in lines[0]
    assert "✗ failed" in lines[1]
    for part in ("2026-11-23 10:00:00", "onnx·int8·dynamic", "32 × 4", "1,280", "120.0 ~", "0.9931", "✓ ok"):
        assert part in lines[2]


def test_filters_limit_what_is_listed(path: Path) -> None:
    assert json.loads(runs(path, "--verdict", "ok", "--json").stdout)[0]["run_id"] == "r-1"
    assert json.loads(runs(path, "--precision", "fp32", "--json").stdout) == []
    assert len(json.loads(runs(path, "--since", "2026-11-24", "--json").stdout)) == 2
    limited = runs(path, "--limit", "1")
    assert len(limited.stdout.splitlines()) == 2
    assert "--limit 0 lists all" in limited.stderr
    assert "make one with `embedconsole run`" in runs(path, "--tag", "none").stdout


def test_sweeps_are_listed_and_name_what_is_listed(path: Path) -> None:
    with Store.open(path) as store:
        begin_sweep(store, "s-20261126-fade", "night", "2026-11-26T10:00:00Z", 1, 3, "")
        record(store, replace(GOOD, run_id="r-4"), started_at="2026-11-26T10:00:00Z", sweep_id="s-20261126-fade")
    _, line = runs(path, "sweeps").stdout.splitlines()
    assert line.split()[:2] == ["s-20261126-fade", "night"]
    assert line.endswith("1      3  interrupted or running"), "runs, cells, state"
    for name in ("night", "fade", "last-sweep"):
        assert [row["run_id"] for row in json.loads(runs(path, "--sweep", name, "--json").stdout)] == ["r-4"]
    assert "fade" in runs(path).stdout.splitlines()[1]
    assert "`embedconsole runs sweeps` lists them" in runs(path, "--sweep", "day").stderr


def test_the_store_may_be_named_behind_the_subcommand_too(path: Path) -> None:
    shown = CliRunner().invoke(cli, ["runs", "show", "r-1", "--store", str(path)])
    assert shown.stdout.startswith("run         r-1 ")


def test_a_shown_run_has_its_stage_times_and_the_reason_why_it_is_not_valid(path: Path) -> None:
    with Store.open(path) as store:
        idle = Judgement(False, "callers were idle")
        record(store, replace(GOOD, run_id="r-4", little=idle, errors={"UNAVAILABLE": 2}))
    shown = runs(path, "show", "r-4").stdout
    for line in (
        "stages      queue 1.00, tokenize 2.00, infer 3.00, serialize 4.00 ms (means of a request)",
        "bottleneck  90% of the client's time at batch 32",
        "memory      RSS 256 MiB",
        "errors      2 x UNAVAILABLE",
        "            requests in flight: callers were idle",
        "            errors: 2 of 402 requests failed (0.5 %), all of them with UNAVAILABLE",
    ):
        assert f"\n{line}" in shown


def test_a_run_limited_by_the_load_generator_states_how(path: Path) -> None:
    with Store.open(path) as store:
        record(store, replace(GOOD, run_id="r-4", saturated=True, lag=Lag(360, 0.2, 2.0, 4.0)))
        record(store, replace(GOOD, run_id="r-5", saturated=True, client_cpu_cores=0.97))
    assert "! client bound: the load generator sent requests late (p95 2.0 ms)" in runs(path, "show", "r-4").stdout
    assert "! client bound: the load generator used 97% of a core" in runs(path, "show", "r-5").stdout


def test_json_rows_hold_truths_and_whole_deployments(path: Path) -> None:
    found: list[dict[str, Any]] = json.loads(runs(path, "--verdict", "ok", "--json").stdout)
    row = found[0]
    assert row["coalesce"] is True
    assert row["p95_stable"] is False
    assert row["effective"]["recipe"] == "dynamic"
    assert row["tags"] == []


def test_one_run_is_shown_whole(path: Path) -> None:
    with store_in(path.parent) as store:
        add_tags(store, "r-1", ["main"])
        add_note(store, "r-1", "the fan was loud", "2026-11-23T12:00:00Z")
    text = runs(path, "show", "r-1").stdout
    for part in (
        "1,280.0 texts/s  (95 %: 1,250 to 1,310)",
        "p99 – (needs 662 requests)",
        "onnx·int8·dynamic, 2 x 1 threads, cpu",
        "p95: the last 3 windows",
        "tags        main",
        "the fan was loud",
        "environment e1: Fake CPU, 2 cores",
    ):
        assert part in text
    found = json.loads(runs(path, "show", "r-1", "--json").stdout)
    assert found["report"]["throughput"]["texts_per_s"] == 1280.0
    assert len(found["intervals"]) == 3
    assert "… unfinished" in runs(path, "show", "r-3").stdout


def test_a_run_that_was_cut_off_shows_what_its_seconds_say(path: Path) -> None:
    with store_in(path.parent) as store:
        add_intervals(store, "r-3", [interval_row(second(n, texts_each=8), None, 0.0, 1.0) for n in range(5)], 0)
    text = runs(path, "show", "r-3").stdout
    assert "… unfinished" in text
    assert "so far      " in text
    assert " texts/s in 4 s" in text
    found = json.loads(runs(path, "show", "r-3", "--json").stdout)
    assert found["report"] is None
    assert found["recovered"]["throughput"]["texts_per_s"] == pytest.approx(800, rel=0.01)
    assert found["recovered"]["interrupted"]


def test_tags_and_notes_are_added_and_taken_away(path: Path) -> None:
    assert runs(path, "tag", "r-1", "main", "v2").exit_code == 0
    assert runs(path, "tag", "r-1", "v2", "--remove").exit_code == 0
    assert runs(path, "note", "r-1", "warm day").exit_code == 0
    found = json.loads(runs(path, "show", "r-1", "--json").stdout)
    assert found["tags"] == ["main"]
    assert found["notes"][0]["text"] == "warm day"


def test_deleting_asks_first(path: Path) -> None:
    assert runs(path, "delete", "r-1", answer="n\n").exit_code == 1
    assert len(runs(path).stdout.splitlines()) == 4
    assert runs(path, "delete", "r-1", answer="y\n").exit_code == 0
    assert runs(path, "delete", "r-2", "r-2", "--yes").exit_code == 0
    assert [line.split()[0] for line in runs(path).stdout.splitlines()[1:]] == ["r-3"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["show", "r-9"], "no run 'r-9'"),
        (["show", "r"], "write at least 4 characters of the id"),
        (["tag", "r-1", "two words"], "is not a tag"),
        (["--since", "yesterday"], "write for example 2h, 7d"),
        (["--verdict", "great"], "unfinished"),
        (["delete"], "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_a_usage_error_with_the_next_step(
    path: Path, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["runs", "--store", str(path), *arguments])
    assert ended.value.code == 3
    assert expected in capsys.readouterr().err


def test_a_named_store_that_cannot_be_used_stops_a_run_before_its_engine_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(["run", "--store", str(tmp_path / "file" / "runs.sqlite")])
    assert ended.value.code == 3
    assert "--no-store measures without recording" in capsys.readouterr().err


def test_a_replay_needs_a_terminal_and_a_run_that_kept_intervals(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = runs(path, "replay", "r-1")
    assert without.exit_code == 2
    assert "embedconsole runs show r-1" in without.stderr
    monkeypatch.setenv("TEXTUAL_DRIVER", "somewhere")
    nothing = runs(path, "replay", "r-3", "--speed", "10")
    assert "r-3 has no stored interval" in nothing.output
    assert "0.5 is not in the range" in runs(path, "replay", "r-1", "--speed", "0.5").output


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_a_time_as_runs_prints_it_can_be_given_back_in_any_time_zone(
    path: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        head, first, *_ = runs(path).stdout.splitlines()
        assert "when (UTC)" in head
        printed = " ".join(first.split()[1:3])
        assert printed == "2026-11-25 10:00:00"
        assert [row["run_id"] for row in json.loads(runs(path, "--since", printed, "--json").stdout)] == ["r-3"]
        offset = runs(path, "--since", "2026-11-25T12:00:00+02:00", "--json")
        assert [row["run_id"] for row in json.loads(offset.stdout)] == ["r-3"]
        assert len(json.loads(runs(path, "--since", "2026-11-25", "--json").stdout)) == 1
    finally:
        monkeypatch.undo()
        time.tzset()


def test_every_printed_time_says_its_zone(path: Path) -> None:
    with Store.open(path) as store:
        add_note(store, "r-1", "warm day", "2026-11-23T12:00:00Z")
    assert "UTC" in runs(path, "--help").stdout.partition("--since")[2].partition("--limit")[0]
    assert "2026-11-23 10:00:00 UTC" in runs(path, "show", "r-1").stdout
    assert "note        2026-11-23 12:00 UTC  warm day" in runs(path, "show", "r-1").stdout


def test_a_running_run_is_shown_as_running_and_is_not_deleted(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("console.store.read.is_running", lambda *_: True)
    assert "▶ running" in runs(path).stdout
    assert "▶ running" in runs(path, "show", "r-3").stdout
    assert json.loads(runs(path, "--verdict", "running", "--json").stdout)[0]["run_id"] == "r-3"
    with pytest.raises(SystemExit) as ended:
        main(["runs", "--store", str(path), "delete", "r-3", "--yes"])
    assert ended.value.code == 3
    assert "r-3 is still being measured: wait until it ends, or stop it" in capsys.readouterr().err
