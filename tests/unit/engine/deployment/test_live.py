"""What a deployment is planned to be, and what it turned out to be, never differ in silence."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.deployment.load import _as_compiled, _core_of_each
from engine.deployment.planner import Planner
from engine.deployment.target import Target
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
    """What was measured of this machine decides nothing here."""
    monkeypatch.setenv("EMBEDCONSOLE_CACHE", str(tmp_path))


def test_requested_and_effective_carry_the_recipe_s_own_name() -> None:
    plan = Planner(FACTS).plan(Target(backend="onnx"), strict=True)
    assert (plan.requested.recipe, plan.effective.recipe) == ("plain", "plain")
    assert not plan.notices


def test_a_fallback_changes_precision_and_recipe_together() -> None:
    plan = Planner(FACTS).plan(Target(backend="onnx", precision="bf16"), strict=False)
    assert (plan.requested.precision, plan.requested.recipe) == ("bf16", "")
    assert (plan.effective.precision, plan.effective.recipe) == ("fp32", "plain")


def test_a_runtime_that_compiled_something_else_is_told_or_with_strict_refused() -> None:
    plan = Planner(FACTS).plan(Target(backend="onnx"), strict=False)
    assert _as_compiled(plan, RanIn("fp32")) == plan
    told = _as_compiled(plan, RanIn("bf16"))
    assert [notice.code for notice in told.notices] == ["ran_otherwise"]
    assert "9 of 9 kernels bf16" in told.notices[0].message
    with pytest.raises(CannotSwitch, match="nothing was changed"):
        _as_compiled(replace(plan, strict=True), RanIn("bf16"))


def test_a_fresh_switch_chooses_recipe_and_shape_anew_instead_of_keeping_them() -> None:
    live = Target("onnx", "int8", "static", "cpu", "some/model", instances=4, threads=2)
    assert Target(backend="onnx", precision="int8").over(live) == live
    fresh = Target(backend="onnx", precision="int8").over(live, fresh=True)
    assert fresh == Target("onnx", "int8", "", "cpu", "some/model", 0, 0)


def test_only_instances_that_compute_in_their_own_single_thread_on_the_cpu_keep_to_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.deployment.load.core_of_each", lambda instances: [7] * instances)
    two = replace(Planner(FACTS).plan(Target(backend="onnx"), strict=True).effective, instances=2, threads=1)
    model, elsewhere = RanIn("fp32"), RanIn("fp32")
    elsewhere.computes_in_caller = False
    assert _core_of_each(two, model) == [7, 7]
    assert _core_of_each(two, elsewhere) == [None, None]
    assert _core_of_each(replace(two, threads=2), model) == [None, None]
    assert _core_of_each(replace(two, device="cuda"), model) == [None, None]
