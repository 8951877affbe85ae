"""Cores are counted by what this process may use."""

from pathlib import Path

import pytest

from engine import machine


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


def test_this_machine_is_described_without_importing_a_runtime() -> None:
    facts = machine.this_platform()
    assert facts.cores >= 1
    assert facts.devices[0] == "cpu"
    assert "onnxruntime" in facts.packages
