"""Machine facts are those of this process: its cores, its memory, its devices."""

from collections.abc import Collection
from pathlib import Path

import pytest

from engine.host import machine


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
    ids=["v2 quota", "v2 unlimited", "v1 quota", "v1 unlimited", "no cgroup"],
)
def test_the_cgroup_quota_is_read_from_either_version(
    tmp_path: Path, files: dict[str, str], expected: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.cgroup_quota(tmp_path) == expected


@pytest.mark.parametrize(
    ("instances", "allowed", "quota", "expected"),
    [
        (2, {4, 7}, None, [4, 7]),
        (2, {4, 7}, 2.0, [4, 7]),
        (2, {4, 7}, 1.5, [None, None]),
        (1, {4, 7}, None, [None]),
        (3, {4, 7}, None, [None, None, None]),
        (2, (), None, [None, None]),
    ],
    ids=["all cores", "a quota of all", "a smaller quota", "fewer than cores", "more than cores", "cores unknown"],
)
def test_instances_are_pinned_only_if_they_fill_all_cores(
    instances: int, allowed: Collection[int], quota: float | None, expected: list[int | None]
) -> None:
    assert machine.core_of_each(instances, allowed, quota) == expected


def test_this_machine_is_described_without_importing_a_runtime() -> None:
    facts = machine.machine_facts(["onnxruntime"])
    assert facts.cores >= 1
    assert facts.devices[0] == "cpu"
    assert "onnxruntime" in facts.packages


def test_unreadable_facts_are_empty_and_memory_is_limited_by_the_cgroup(tmp_path: Path) -> None:
    assert machine.governor(tmp_path) == ""
    assert machine.gpu_driver(tmp_path / "version") == ""
    everything = machine.memory_bytes(tmp_path)
    (tmp_path / "memory.max").write_text("1048576\n")
    assert machine.memory_bytes(tmp_path) == 1 << 20 < everything
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory_bytes(tmp_path) == everything


def test_the_governor_and_the_gpu_driver_are_read_from_linux(tmp_path: Path) -> None:
    (tmp_path / "cpu0/cpufreq").mkdir(parents=True)
    (tmp_path / "cpu0/cpufreq/scaling_governor").write_text("powersave\n")
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56\n"
    )
    assert machine.governor(tmp_path) == "powersave"
    assert machine.gpu_driver(tmp_path / "version") == "550.54.15"
