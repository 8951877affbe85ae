"""`embedconsole sweep`: progress on stderr, data on stdout, an exit code, and nothing lost to Ctrl+C or kill -9."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.commands.sweep import exit_code
from console.measure.spec import RunSpec
from console.model.durations import duration
from console.model.engine import Deployment
from console.model.load import LoadSpec
from console.output.sweep import as_text
from console.store.database import Store
from console.store.read import RunFilter, list_runs
from console.sweep.labels import load_of
from console.sweep.point import SweepPoint
from console.sweep.state import PointState, PointStatus, SweepState, figures_of_measurement
from tests.unit.console.support.made import GOOD, SHAKY, STEADY

SCRIPT = """
import sys
from pathlib import Path
from console.store.database import Store
from console.commands.sweep import sweep_once
from console.sweep.spec import parse_spec
from console.session.port import SessionOptions

path, text, *flags = sys.argv[1:]
spec = parse_spec(text, "test", "test")
command = (sys.executable, "-m", "tests.support.fake_engine", "--delay-ms", "5")
options = SessionOptions(engine=spec.points[0].engine_spec, engine_command=command)
store = Store.open(Path(path))
sys.exit(sweep_once(options, spec, store=store, resume="resume" in flags, as_json="text" not in flags))
"""
GRID = 'duration = "1s"\nwarm_up = "0s"\n[grid]\nbackends = "onnx"\nprecisions = "fp32"\nbatch = [1, 2, 4]\n'
LONG = GRID.replace('"1s"', '"10m"')


def sweep_child(path: Path, text: str, *flags: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path), text, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(child: "subprocess.Popen[str]", words: str) -> None:
    """Reads its progress up to those words."""
    assert child.stderr is not None
    while words not in child.stderr.readline():
        assert child.poll() is None


def ended(child: "subprocess.Popen[str]") -> tuple[dict[str, Any], str]:
    output, progress = child.communicate()
    return json.loads(output), progress


def test_it_says_what_comes_tells_each_cell_and_prints_one_object(tmp_path: Path) -> None:
    child = sweep_child(tmp_path / "runs.sqlite", GRID)
    found, progress = ended(child)
    assert child.returncode == 2, "a second is too short for a steady figure"
    assert found["counts"]["done"] == 3
    assert [cell["workload"]["batch"] for cell in found["cells"]] == [1, 2, 4], "in the specification's order"
    for cell in found["cells"]:
        assert cell["verdict"] == "too_short"
        assert cell["figures"]["texts_per_s"] > 0
    assert "3 to measure on 1 deployment, about 11 s" in progress
    assert "[3/3] onnx·fp32" in progress
    assert f"embedconsole runs --sweep {found['sweep_id']}" in progress


async def test_ctrl_c_twice_keeps_what_is_there_and_resume_measures_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    child = sweep_child(path, LONG)
    told(child, "3 to measure")
    with Store.open(path) as store:
        while not (rows := list_runs(store)) or not _intervals(store):
            assert child.poll() is None
            await asyncio.sleep(0.05)  # asked again and again, as a screen would
    child.send_signal(signal.SIGINT)
    told(child, "Ctrl+C again stops now")
    child.send_signal(signal.SIGINT)
    found, progress = ended(child)
    assert child.returncode == 130
    assert found["interrupted"]
    assert sorted(cell["status"] for cell in found["cells"]) == ["skipped"] * 3
    assert "--resume measures the missing cells" in progress
    with Store.open(path) as store:
        (row,) = list_runs(store)
        assert row.run_id == rows[0].run_id
        assert row.interrupted
        assert row.texts_per_s is not None


def _intervals(store: Store) -> int:
    with store.reading() as connection:
        return int(connection.execute("SELECT count(*) FROM interval").fetchone()[0])


def test_ctrl_c_once_finishes_the_running_cell(tmp_path: Path) -> None:
    child = sweep_child(tmp_path / "runs.sqlite", GRID.replace('"1s"', '"2s"'))
    told(child, "[1/3]")
    child.send_signal(signal.SIGINT)
    found, _ = ended(child)
    assert child.returncode == 130
    assert sorted(cell["status"] for cell in found["cells"]) == ["done", "done", "skipped"]


def test_a_sweep_killed_with_sigkill_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    child = sweep_child(path, GRID)
    told(child, "[1/3]")
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    child = sweep_child(path, GRID, "resume", "text")
    output, progress = child.communicate()
    assert "cells are measured already, " in progress
    assert output.count("measured before") >= 1
    assert "3 done" in output
    with Store.open(path) as store:
        (sweep,) = {row.sweep_id for row in list_runs(store)}
        assert len([row for row in list_runs(store, RunFilter(sweep=sweep)) if row.verdict == "too_short"]) == 3


def cells(*measured: Any) -> SweepState:
    """A state with one cell a measurement; None: skipped."""
    cell = SweepPoint(RunSpec(LoadSpec(32, 4)), Deployment("onnx", "int8"))
    states: list[PointState] = []
    for repeat, one in enumerate(measured):
        figures = None if one is None else figures_of_measurement(one)
        status = PointStatus.SKIPPED if one is None else PointStatus.FAILED if one.failure else PointStatus.DONE
        states.append(PointState(replace(cell, repeat=repeat), status, figures, message="why" if one is None else ""))
    return SweepState("s-1", "test", tuple(states))


OK = replace(GOOD, throughput_judgement=STEADY)
UNSTABLE = replace(GOOD, throughput_judgement=SHAKY)
BOUND = replace(GOOD, saturated=True)
MISSED = replace(GOOD, p95_judgement=STEADY, spec=replace(GOOD.spec, slo_p95_ms=1.0))
FAILED = replace(GOOD, failure="the engine was lost")


@pytest.mark.parametrize(
    ("measured", "code"),
    [
        ((OK, OK), 0),
        ((OK, MISSED), 1),
        ((UNSTABLE, MISSED), 2),
        ((BOUND, UNSTABLE), 4),
        ((BOUND, FAILED), 5),
        ((OK, None), 0),
    ],
)
def test_the_exit_code_is_the_first_that_applies_to_any_cell(measured: Sequence[Any], code: int) -> None:
    assert exit_code(cells(*measured)) == code


def test_the_table_marks_what_is_shaky_failed_or_left_out() -> None:
    state = cells(OK, UNSTABLE, None, FAILED)
    head, *lines, end, hint = as_text(state, [one.point for one in state.points]).splitlines()
    assert head.split()[0] == "cell"
    assert hint.startswith("~ 1 not steady: `embedconsole runs show RUN` gives the reason")
    assert "1,280  " in lines[0]
    assert "✓ ok" in lines[0]
    assert "1,280 ~" in lines[1]
    assert "repeat 2" in lines[1]
    assert "– skipped: why" in lines[2]
    assert "✗ failed" in lines[3]
    assert end == "sweep s-1: 2 done, 1 failed, 1 skipped"


def test_a_cell_names_every_knob_it_turns() -> None:
    plain = SweepPoint(RunSpec(LoadSpec(1, 32)))
    assert load_of(plain) == "1 × 32"
    turned = replace(
        plain,
        run=RunSpec(LoadSpec(1, 32, corpus="mixed", stream=True)),
        target=Deployment("onnx", instances=2),
        coalesce=False,
        max_batch_tokens=512,
        max_wait_ms=2.0,
    )
    assert load_of(turned) == "1 × 32, mixed, stream, no coalescing, 512 tokens, wait 2 ms, 2 × auto threads"


def test_durations_are_said_as_people_say_them() -> None:
    assert [duration(seconds) for seconds in (40, 99, 600, 9000)] == ["40 s", "99 s", "10 min", "2 h 30 min"]
