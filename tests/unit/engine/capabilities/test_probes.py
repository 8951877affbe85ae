"""Probes confirm or correct the rules and run once per environment; measurements are kept by cell."""

import json
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from engine.backends.base import Cell
from engine.capabilities import probes
from engine.capabilities.matrix import capability_matrix
from engine.capabilities.measurements import MeasurementStore
from engine.capabilities.platform import named_platform
from engine.capabilities.probes import Probe, ProbeCache, ProbeResult, environment_hash, run_missing
from engine.capabilities.rules import CellState
from engine.host import child
from engine.host.machine import PlatformFacts
from tests.support.patience import HANGS_AFTER_S

ONNX = Cell(backend="onnx", precision="fp32", device="cpu", recipe="plain")
TORCH = Cell(backend="torch", precision="fp32", device="cpu", recipe="plain")
FACTS = PlatformFacts("linux-x86_64", "linux", "x86_64", packages={"torch": "2", "onnxruntime": "1"})
STUB = """
import sys
from engine.host.child import Worker
worker = Worker()
for cell in worker.order["cells"]:
    worker.report(event="begin", cell=cell)
    {act}
    worker.report(event="result", cell=cell, result="passed", detail="3 of 3")
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBEDCONSOLE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def stub_child(folder: Path, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    """Replaces the probe process by one that runs `act` for each cell."""
    (folder / "stub_probe.py").write_text(STUB.format(act=act))
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def reports(_: str, order: dict[str, object], *, silent_s: float) -> object:
        return child.reports("stub_probe", order, silent_s=silent_s)

    monkeypatch.setattr(probes, "reports", reports)


async def test_a_result_is_kept_until_the_environment_changes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_child(cache, monkeypatch, "pass")
    begun: list[Cell] = []
    found = await run_missing(FACTS, [TORCH, ONNX], lambda cell, done, total: begun.append(cell))
    assert found == {TORCH: Probe(ProbeResult.PASSED, "3 of 3"), ONNX: Probe(ProbeResult.PASSED, "3 of 3")}
    assert {TORCH, ONNX} == set(begun)
    begun.clear()
    assert await run_missing(FACTS, [TORCH, ONNX], lambda cell, done, total: begun.append(cell)) == found
    assert not begun
    newer = replace(FACTS, packages={"torch": "3", "onnxruntime": "1"})
    assert environment_hash(newer) != environment_hash(FACTS)
    assert not ProbeCache(newer).read([TORCH, ONNX])


async def test_a_cell_that_kills_the_child_fails_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_child(cache, monkeypatch, "cell['backend'] == 'torch' and sys.exit('no such instruction')")
    found = await run_missing(FACTS, [TORCH, ONNX], lambda cell, done, total: None)
    assert found[TORCH].result is ProbeResult.FAILED
    assert "no such instruction" in found[TORCH].detail
    assert found[ONNX].result is ProbeResult.PASSED


async def test_a_cell_that_hangs_fails_within_its_limit_and_is_probed_again_next_time(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_child(cache, monkeypatch, "__import__('threading').Event().wait()")
    monkeypatch.setattr(probes, "CELL_LIMIT_S", 3.0)
    found = await run_missing(FACTS, [TORCH], lambda cell, done, total: None)
    assert found[TORCH].result is ProbeResult.FAILED
    assert not ProbeCache(FACTS).read([TORCH])


def test_a_probe_that_contradicts_a_rule_corrects_the_report() -> None:
    failed = {TORCH: Probe(ProbeResult.FAILED, "RuntimeError: NoQEngine")}
    cell = next(one for one in capability_matrix(FACTS, failed) if one.report.asked == TORCH)
    assert cell.report.state is CellState.UNAVAILABLE
    assert "its probe failed: RuntimeError: NoQEngine" in cell.report.reason
    other = next(one for one in capability_matrix(FACTS, failed) if one.report.asked == ONNX)
    assert other.report.state is CellState.NATIVE


def test_the_matrix_of_another_platform_needs_no_probe() -> None:
    assert {one.probe.result for one in capability_matrix(named_platform("macos-arm64"))} == {ProbeResult.NOT_RUN}


def test_a_new_figure_of_a_cell_keeps_its_other_figures(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "measured.json")
    store.write(ONNX, texts_per_s=900.0)
    store.write(ONNX, fidelity={"cosine": {"mean": 0.99}})
    store.write(TORCH, texts_per_s=400.0)
    store.write(ONNX, texts_per_s=1000.0)
    found = store.read()
    assert (found[ONNX].texts_per_s, found[ONNX].mean_cosine) == (1000.0, 0.99)
    assert (found[TORCH].texts_per_s, found[TORCH].mean_cosine) == (400.0, None)
    (tmp_path / "measured.json").write_text("{damaged")
    assert not store.read()


def test_a_measurement_whose_key_is_damaged_is_left_out(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "measured.json")
    store.write(ONNX, texts_per_s=900.0)
    content = json.loads((tmp_path / "measured.json").read_text())
    content["cells"] |= {"onnx/fp32/cpu": {}, "onnx/fp32/cpu/plain/more": {}}
    (tmp_path / "measured.json").write_text(json.dumps(content))
    assert set(store.read()) == {ONNX}


async def test_a_child_process_ends_when_its_reader_stops(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_child(cache, monkeypatch, "__import__('threading').Event().wait()")
    before = set(psutil.Process().children())
    lines = child.reports("stub_probe", {"cells": [{"backend": "x"}]}, silent_s=HANGS_AFTER_S)
    assert (await anext(lines))["event"] == "begin"
    assert len(set(psutil.Process().children()) - before) == 1
    await lines.aclose()
    assert not set(psutil.Process().children()) - before
