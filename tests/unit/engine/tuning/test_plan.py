"""Serving plans: `auto` stands for measured values, which are kept, and options of the user override them."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from engine.backends.base import Cell
from engine.capabilities.probes import environment_hash
from engine.deployment.planner import Planner
from engine.deployment.target import Target
from engine.host.machine import PlatformFacts
from engine.models.resolve import BUNDLED_ID
from engine.scheduling import TokenIds, Vectors
from engine.tuning.plan import BatchOverrides, PlanCache, ServingPlan, rule_of_thumb
from engine.tuning.search import (
    BATCHES,
    MIXED,
    SHORT,
    SIZE_ROUNDS,
    UNIFORM,
    Lengths,
    PassTime,
    batches_of,
    best_split,
    knee_tokens,
    pass_cost_tokens,
    splits,
    tune,
)

FACTS = PlatformFacts("linux-x86_64", "linux", "x86_64", packages={"torch": "2", "onnxruntime": "1"}, cores=4)
ONNX = Cell(backend="onnx", precision="fp32", device="cpu", recipe="plain")
MEASURED = ServingPlan(2, 2, 768, 96, 9, texts_per_s=900.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBEDCONSOLE_CACHE", str(tmp_path))
    return tmp_path


def test_without_a_measurement_a_cpu_gets_one_instance_per_core_and_another_device_one() -> None:
    plan = Planner(FACTS).plan(Target(backend="torch"), strict=True)
    assert (plan.effective.instances, plan.effective.threads) == (4, 1)
    assert not plan.serving.measured
    assert (rule_of_thumb("cuda:0", 16).instances, rule_of_thumb("cuda:0", 16).threads) == (1, 1)


def test_auto_uses_the_measured_plan_of_this_machine_and_model_only() -> None:
    PlanCache(FACTS).write(ONNX, "", MEASURED)
    plan = Planner(FACTS).plan(Target(backend="onnx"), strict=True)
    assert (plan.effective.instances, plan.effective.threads, plan.serving) == (2, 2, MEASURED)
    for other in (Target("onnx", model="another/model"), Target("torch")):
        assert not Planner(FACTS).plan(other, strict=True).serving.measured
    for machine in (replace(FACTS, cores=8), replace(FACTS, cpu_model="another")):
        assert not Planner(machine).plan(Target("onnx"), strict=True).serving.measured


def test_a_start_measures_a_cell_that_is_not_slow_if_the_user_set_no_counts() -> None:
    planner = Planner(FACTS)
    for target, expected in (
        (Target("onnx"), True),
        (Target("onnx", threads=2), False),
        (Target("torch", "fp16"), False),
    ):
        assert planner.should_tune(planner.plan(target, strict=True)) is expected
    PlanCache(FACTS).write(ONNX, "", MEASURED)
    assert not planner.should_tune(planner.plan(Target("onnx"), strict=True))


def test_options_of_the_user_override_the_plan() -> None:
    assert MEASURED.with_counts(0, 0, cores=4) == MEASURED
    for instances, threads, expected in ((1, 0, (1, 4)), (0, 1, (4, 1)), (3, 3, (3, 3))):
        found = MEASURED.with_counts(instances, threads, cores=4)
        assert (found.instances, found.threads) == expected
    policy = BatchOverrides(max_batch_items=5, coalesce=False).policy(MEASURED, packs=True)
    assert (policy.max_batch_tokens, policy.max_batch_items, policy.pass_cost_tokens) == (768, 5, 9)
    assert not policy.coalesce


@pytest.mark.parametrize("name", ["", BUNDLED_ID])
def test_the_bundled_model_has_one_plan_under_all_of_its_names(name: str) -> None:
    PlanCache(FACTS).write(ONNX, name, MEASURED)
    for asked in ("", BUNDLED_ID):
        assert PlanCache(FACTS).find(ONNX, asked) == MEASURED


def test_a_folder_has_one_plan_under_all_of_its_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a-model"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    PlanCache(FACTS).write(ONNX, "./a-model", MEASURED)
    for asked in ("a-model", "~/a-model", str(folder), f"{folder}/"):
        assert PlanCache(FACTS).find(ONNX, asked) == MEASURED
    assert PlanCache(FACTS).find(ONNX, "owner/a-model") is None
    assert PlanCache(FACTS).find(ONNX, "x" * 5000) is None, "a long name is not an error"


def test_older_plans_are_found_under_the_name_that_the_user_gave(cache: Path) -> None:
    """A file from before names were resolved: its keys end with the name that the user gave."""
    (cache / "a-model").mkdir()
    relative = os.path.relpath(cache / "a-model")
    rows = {
        f"onnx/fp32/cpu/plain/{name}": {**asdict(MEASURED), "texts_per_s": 900.0 + at}
        for at, name in enumerate(["", relative, "owner/model"])
    }
    rows[f"torch/fp32/cpu/plain/{BUNDLED_ID}"] = asdict(MEASURED)
    path = cache / "plans" / f"{environment_hash(FACTS)[:32]}-4.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"format": 3, "plans": rows}))
    plans = PlanCache(FACTS)
    for at, name in enumerate(["", relative, "owner/model"]):
        assert plans.find(ONNX, name) == replace(MEASURED, texts_per_s=900.0 + at)
    assert plans.find(ONNX, BUNDLED_ID) == replace(MEASURED, texts_per_s=900.0)
    assert plans.find(Cell(backend="torch", precision="fp32", device="cpu", recipe="plain"), "") == MEASURED
    plans.write(ONNX, relative, MEASURED)
    assert plans.find(ONNX, relative) == MEASURED, "a new measurement replaces the older row"


def test_another_name_of_the_live_model_is_the_same_deployment_with_its_measured_plan() -> None:
    PlanCache(FACTS).write(ONNX, "", MEASURED)
    planner, live = Planner(FACTS), Target("onnx", "fp32")
    named = Target("onnx", "fp32", model=BUNDLED_ID).filled_from(live, fresh=True)
    assert planner.plan(named, strict=True).effective == planner.plan(live, strict=True).effective
    assert planner.plan(named, strict=True).serving == MEASURED
    other = Target("onnx", "fp32", model="owner/model").filled_from(live, fresh=True)
    assert other.model == "owner/model"


def test_a_damaged_cache_counts_as_empty(cache: Path) -> None:
    PlanCache(FACTS).write(ONNX, "", MEASURED)
    for path in (cache / "plans").glob("*.json"):
        path.write_text("{damaged")
    assert PlanCache(FACTS).find(ONNX, "") is None


def test_all_cores_are_used_whatever_the_split() -> None:
    assert splits(1) == [(1, 1)]
    assert splits(6) == [(6, 1), (3, 2), (2, 3), (1, 6)]


def test_the_fastest_split_wins_and_among_equals_the_one_with_the_most_threads() -> None:
    assert best_split({(2, 1): [100, 101, 99], (1, 2): [80, 81, 82]}) == (2, 1)
    assert best_split({(2, 1): [100, 101, 99], (1, 2): [98, 99, 98]}) == (1, 2)
    assert best_split({(2, 1): [100, 10, 101], (1, 2): [90, 91, 92]}) == (2, 1), "one slow window does not decide"


def times(fixed_tokens: float) -> list[PassTime]:
    return [PassTime(tokens, 1e-4 * (fixed_tokens + tokens)) for tokens in (16, 32, 64, 128, 256, 512, 1024, 2048)]


def test_the_cost_of_a_pass_is_its_time_without_tokens() -> None:
    assert pass_cost_tokens(times(9)) == 9
    assert pass_cost_tokens(times(400)) == 400
    flat = [PassTime(tokens, 0.003) for tokens in (16, 32, 64)]
    assert pass_cost_tokens(flat) == 64, "if only the launch takes time, padding is free"


def test_the_knee_is_the_smallest_pass_of_nearly_full_throughput() -> None:
    assert knee_tokens(times(9)) == 256
    assert knee_tokens(times(0)) == 32
    assert knee_tokens(times(400)) == 2048
    lucky = [replace(one, seconds=one.seconds * (0.96 if one.tokens == 2048 else 1.0)) for one in times(9)]
    assert knee_tokens(lucky) == 256, "one fast window does not decide"


class Model:
    """A model that answers at once and records the threads of its executors."""

    dim, precision, evidence, computes_in_caller = 3, "fp32", "", True

    def __init__(self, *, packs: bool = False) -> None:
        self.packs = packs
        self.asked: list[int] = []
        self.lengths: list[list[int]] = []

    def executor(self, threads: int) -> "Model":
        self.asked.append(threads)
        return self

    def close(self) -> None:
        """Nothing to free."""

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        self.lengths.append([len(text) for text in texts])
        return Vectors(np.zeros((len(texts), 3), np.float32), np.zeros(len(texts), np.float32))


def test_tuning_measures_every_split_and_returns_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.tuning.search.WINDOW_S", 0.001)
    steps: list[tuple[int, int]] = []
    model = Model()
    plan = tune(model, range(1, 50), "cpu", 2, lambda done, total: steps.append((done, total)))
    assert sorted(model.asked) == [1, 1, 2]
    assert plan.measured
    assert (plan.instances, plan.threads) in splits(2)
    assert steps[-1][0] == steps[-1][1] == len(steps)


def test_lengths_are_mixed_only_for_models_that_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.tuning.search.WINDOW_S", 0.0)
    for packs, lengths in ((False, {UNIFORM.mean}), (True, set(range(MIXED.mean - MIXED.spread, 57)))):
        model = Model(packs=packs)
        tune(model, range(1, 50), "cpu", 2, lambda done, total: None)
        assert {length for batch in model.lengths for length in batch} == lengths


def test_a_first_pass_of_each_batch_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.tuning.search.WINDOW_S", 0.0)  # two passes, then
    model = Model()
    tune(model, range(1, 50), "cpu", 1, lambda done, total: None)
    passes = {size: sum(len(batch) == size for batch in model.lengths) for size in (1, 64)}
    assert passes == dict.fromkeys((1, 64), BATCHES + 2 * SIZE_ROUNDS)


def test_an_error_of_a_pass_ends_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Model, texts: Sequence[TokenIds]) -> Vectors:
        raise MemoryError("no room")

    monkeypatch.setattr(Model, "__call__", fail)
    with pytest.raises(MemoryError, match="no room"):
        tune(Model(), range(1, 50), "cpu", 2, lambda done, total: None)


@pytest.mark.parametrize("lengths_of", [SHORT, MIXED])
def test_no_two_batches_that_are_timed_are_alike(lengths_of: Lengths) -> None:
    for count in (1, 2, 32):
        batches = batches_of(list(range(50)), count, lengths_of)
        lengths = [tuple(map(len, batch)) for batch in batches]
        assert {len(batch) for batch in batches} == {count}
        assert len(set(lengths)) == BATCHES
        for first, second in zip(lengths[::2], lengths[1::2], strict=True):
            assert sum(first) + sum(second) == 2 * count * lengths_of.mean
        alike = batches_of(list(range(50)), count, Lengths(lengths_of.mean, 0))
        assert {len(text) for batch in alike for text in batch} == {lengths_of.mean}
    largest = batches_of(list(range(50)), 64, lengths_of)[0]
    assert len(set(map(len, largest))) == 2 * lengths_of.spread + 1, "every length within the spread"
