"""Deployments are compared live in interleaved rounds, and the round is the unit."""

import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from console.commands.compare_live import LivePlan, LiveResult, Side, SideError, as_json, as_text, parse_side, result_of
from console.measure.spec import RunSpec
from console.model.engine import Deployment
from console.model.load import LoadSpec
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.read import RunFilter, list_runs
from console.sweep.runner import Sweep, plan_sweep
from console.sweep.spec import SweepSpec
from console.sweep.state import PointFigures, PointState, PointStatus, SweepState, figures_of_measurement
from tests.support.patience import HANGS_AFTER_S
from tests.unit.console.support.made import GOOD, store_in

RUN = RunSpec(LoadSpec(1, 2), duration_s=1.0, warm_up_s=0.0)
COMMAND = (sys.executable, "-m", "tests.support.fake_engine", "--delay-ms", "5")


def sides(*words: str) -> tuple[Side, ...]:
    return tuple(parse_side(one, RUN) for one in words)


def test_a_deployment_is_read_from_its_words() -> None:
    side = parse_side(
        "onnx int8 recipe=dynamic instances=2 threads=1 coalesce=off max-batch-tokens=512", RUN, strict=True
    )
    assert side.point.target == Deployment("onnx", "int8", "dynamic", instances=2, threads=1)
    assert side.point.knobs == {"coalesce": False, "max_batch_tokens": 512}
    assert side.point.strict


@pytest.mark.parametrize("words", ["onnx int9", "instances=some", "coalesce=maybe", "", "int8=onnx"])
def test_words_that_say_nothing_are_pointed_at(words: str) -> None:
    with pytest.raises(SideError, match=re.escape(words.split()[-1] if words else "empty")):
        parse_side(words, RUN)


def test_every_round_has_each_side_once_in_an_order_of_its_own() -> None:
    plan = LivePlan(sides("onnx fp32", "onnx int8", "torch fp32"), 12)
    rounds = [plan.order[start : start + 3] for start in range(0, 36, 3)]
    assert all(sorted(one) == [0, 1, 2] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 3
    assert plan.order == LivePlan(plan.sides, 12).order
    assert plan.order != replace(plan, seed=1).order


def test_a_side_compared_with_itself_is_measured_as_often() -> None:
    plan = LivePlan(sides("onnx fp32", "onnx fp32"), 6)
    assert len({cell.hash for cell in plan.points}) == 12
    spec = SweepSpec(plan.name, 0, 1, plan.points, "")
    assert plan_sweep(spec, None).points == plan.points, "the sweep keeps the order of the rounds"


def made(plan: LivePlan, speeds: list[list[float]]) -> LiveResult:
    """`speeds` by side and round."""
    cells = []
    for place, (cell, side) in enumerate(zip(plan.points, plan.order, strict=True)):
        speed = speeds[side][place // len(plan.sides)]
        figures: PointFigures = replace(figures_of_measurement(GOOD), texts_per_s=speed, p95_ms=1e4 / speed)
        cells.append(PointState(cell, PointStatus.DONE, figures))
    random.Random(0).shuffle(cells)  # noqa: S311 - not a secret
    return result_of(plan, SweepState("s-1", plan.name, tuple(cells)))


def test_rounds_are_paired_so_that_a_machine_that_drifts_changes_nothing() -> None:
    machine = [100.0, 140.0, 70.0, 200.0, 90.0, 160.0]
    result = made(LivePlan(sides("onnx fp32", "onnx int8"), 6), [machine, [1.3 * one for one in machine]])
    found = result.compared(1, "texts_per_s")
    assert found.ratio is not None
    assert found.ratio.low == pytest.approx(1.3)
    assert found.verdict == "faster"
    assert result.compared(1, "p95_ms").verdict == "lower"
    assert "onnx int8 is faster than onnx fp32: +30.0% to +30.0%" in as_text(result)


def test_an_a_a_comparison_says_same_or_undecided_in_nine_of_ten_seeds() -> None:
    said = []
    for seed in range(10):
        chance = random.Random(seed)  # noqa: S311 - noise, not a secret
        noisy = [[1000 * chance.lognormvariate(0, 0.04) for _ in range(6)] for _ in range(2)]
        said.append(made(LivePlan(sides("onnx fp32", "onnx fp32"), 6, seed), noisy).compared(1, "texts_per_s").verdict)
    assert sum(one in ("same", "undecided") for one in said) >= 9


def test_a_round_that_failed_on_one_side_is_left_out_and_one_that_shook_is_counted() -> None:
    result = made(LivePlan(sides("onnx fp32", "onnx int8"), 3), [[100.0] * 3, [150.0] * 3])
    rounds = [list(one) for one in result.rounds]
    rounds[0][1] = None
    rounds[1][0] = replace(figures_of_measurement(GOOD), verdict="unstable", texts_per_s=100.0)
    cut = replace(result, rounds=tuple(map(tuple, rounds)))
    found = cut.compared(1, "texts_per_s")
    assert found.ratio is not None
    assert found.ratio.rounds == 2
    assert as_json(cut)["sides"][0]["unsteady_rounds"] == 1
    assert "~ 1 unsteady" in as_text(cut)


SCRIPT = """
import sys
from pathlib import Path
from console.commands.compare_live import LivePlan, compare_once, parse_side
from console.measure.spec import RunSpec
from console.store.database import Store
from console.model.load import LoadSpec
from console.session.port import SessionOptions

run = RunSpec(LoadSpec(1, 2), duration_s=1.0, warm_up_s=0.0)
plan = LivePlan(tuple(parse_side(words, run) for words in ("onnx fp32", "onnx fp32")), 2)
command = (sys.executable, "-m", "tests.support.fake_engine", "--delay-ms", "5")
options = SessionOptions(engine=plan.sides[0].point.engine_spec, engine_command=command)
sys.exit(compare_once(options, plan, store=Store.open(Path(sys.argv[1])), as_json=True))
"""


def test_data_goes_to_stdout_and_progress_with_the_time_left_to_stderr(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "runs.sqlite")],
        capture_output=True, text=True, timeout=HANGS_AFTER_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [len(one) for one in found["rounds"]] == [2, 2]
    assert found["comparisons"][0]["texts_per_s"]["says"] in ("same", "undecided", "faster", "slower")
    assert "2 rounds of 2, about" in done.stderr
    assert "[1/4] onnx·fp32, 1 × 2: " in done.stderr
    assert "repeat 2" in done.stderr, "the second round"
    assert "repeat 3" not in done.stderr
    assert " s left" in done.stderr
    assert f"embedconsole runs --sweep {found['sweep_id']}" in done.stderr


async def test_live_rounds_are_measured_on_one_engine_and_stored(tmp_path: Path) -> None:
    plan = LivePlan(sides("onnx fp32", "torch fp32"), 2)
    pids = set()
    with store_in(tmp_path) as store:
        options = SessionOptions(engine=plan.sides[0].point.engine_spec, engine_command=COMMAND)
        async with Session(options) as session:
            spec = SweepSpec(plan.name, plan.seed, 1, plan.points, "")
            sweep = Sweep(session, plan_sweep(spec, store), store, lambda _: pids.add(session.frame.engine.pid or None))
            state = await sweep.run()
        stored = list_runs(store, RunFilter(sweep=state.sweep_id))
    result = result_of(plan, state)
    assert len(stored) == 4
    assert len(pids - {None}) == 1
    assert all(None not in one for one in result.rounds)
    for one in result.rounds:
        assert [figures.effective.backend for figures in one if figures] == ["onnx", "torch"]
