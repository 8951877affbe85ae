"""Plans and live deployments: a difference between what was planned and what runs is always reported."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.backends.base import Cell
from engine.deployment.load import _core_of_each_instance, _with_compiled_precision
from engine.deployment.planner import Planner
from engine.deployment.target import Deployment, Target
from engine.errors import CannotSwitch
from engine.host.machine import PlatformFacts
from engine.scheduling import Executor

FACTS = PlatformFacts("linux-x86_64", "linux", "x86_64", packages={"torch": "2", "onnxruntime": "1"}, cores=4)


class RanIn:
    """A loaded model of some precision."""

    dim = 3
    packs = False
    computes_in_caller = True

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.evidence = f"9 of 9 kernels {precision}"

    def executor(self, threads: int) -> Executor:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache: no measured plan of this machine is used."""
    monkeypatch.setenv("EMBEDCONSOLE_CACHE", str(tmp_path))


def test_requested_and_effective_carry_the_recipe_s_own_name() -> None:
    plan = Planner(FACTS).plan(Target(backend="onnx"), strict=True)
    assert (plan.requested.recipe, plan.effective.recipe) == ("plain", "plain")
    assert not plan.notices


def test_targets_and_deployments_offer_their_cell() -> None:
    cell = Cell(backend="onnx", precision="int8", device="cpu", recipe="smoothed")
    assert Target("onnx", "int8", "smoothed", "cpu", "some/model", instances=4).cell == cell
    assert Target().cell == Cell(backend="", precision="", device="")
    deployment = Deployment.of(cell, model="some/model", instances=4, threads=2)
    assert deployment == Deployment("onnx", "int8", "smoothed", "cpu", "some/model", 4, 2)
    assert deployment.cell == cell


def test_a_fallback_changes_precision_and_recipe_together() -> None:
    plan = Planner(FACTS).plan(Target(backend="onnx", precision="bf16"), strict=False)
    assert (plan.requested.precision, plan.requested.recipe) == ("bf16", "")
    assert (plan.effective.precision, plan.effective.recipe) == ("fp32", "plain")


def test_another_compiled_precision_gives_a_notice_and_with_strict_an_error() -> None:
    plan = Planner(FACTS).plan(Target(backend="onnx"), strict=False)
    assert _with_compiled_precision(plan, RanIn("fp32")) == plan
    changed = _with_compiled_precision(plan, RanIn("bf16"))
    assert [notice.code for notice in changed.notices] == ["ran_otherwise"]
    assert "9 of 9 kernels bf16" in changed.notices[0].message
    with pytest.raises(CannotSwitch, match="drop it"):
        _with_compiled_precision(replace(plan, strict=True), RanIn("bf16"))


def test_a_fresh_switch_does_not_keep_the_recipe_instances_and_threads() -> None:
    live = Target("onnx", "int8", "static", "cpu", "some/model", instances=4, threads=2)
    assert Target(backend="onnx", precision="int8").filled_from(live) == live
    fresh = Target(backend="onnx", precision="int8").filled_from(live, fresh=True)
    assert fresh == Target("onnx", "int8", "", "cpu", "some/model", 0, 0)


def test_only_single_threaded_instances_that_compute_in_their_own_thread_on_the_cpu_are_pinned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.deployment.load.core_of_each", lambda instances: [7] * instances)
    two = replace(Planner(FACTS).plan(Target(backend="onnx"), strict=True).effective, instances=2, threads=1)
    model, elsewhere = RanIn("fp32"), RanIn("fp32")
    elsewhere.computes_in_caller = False
    assert _core_of_each_instance(two, model) == [7, 7]
    assert _core_of_each_instance(two, elsewhere) == [None, None]
    assert _core_of_each_instance(replace(two, threads=2), model) == [None, None]
    assert _core_of_each_instance(replace(two, device="cuda"), model) == [None, None]
