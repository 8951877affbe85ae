"""`engine tune` where the cache cannot be written."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.commands.tune import tune_cells
from engine.exit_codes import ExitCode
from engine.host.machine import PlatformFacts
from engine.tuning.plan import ServingPlan

FACTS = PlatformFacts("linux-x86_64", "linux", "x86_64", packages={"torch": "2", "onnxruntime": "1"}, cores=4)
PLAN = ServingPlan(2, 2, 768, 96, 9, texts_per_s=900.0)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which every cell is measured at once, with PLAN as the result."""

    async def prepare(*_: object) -> object:
        return SimpleNamespace()

    async def tune_in_child(*_: object) -> ServingPlan:
        return PLAN

    monkeypatch.setattr("engine.commands.tune.this_platform", lambda: FACTS)
    monkeypatch.setattr("engine.commands.tune.resolve_model", lambda _: SimpleNamespace())
    monkeypatch.setattr("engine.commands.tune.prepare", prepare)
    monkeypatch.setattr("engine.commands.tune.tune_in_child", tune_in_child)


@pytest.mark.usefixtures("measured")
def test_a_plan_that_cannot_be_written_ends_with_its_figures_the_folder_and_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "a-file"
    cache.write_text("not a folder")
    monkeypatch.setenv("EMBEDCONSOLE_CACHE", str(cache))
    code = tune_cells(backend="onnx", precision="fp32", recipe="", device="cpu", model="", as_json=True)
    assert code == ExitCode.FAILED
    out, err = capsys.readouterr()
    assert not out
    (error,) = (line for line in map(json.loads, err.splitlines()) if line["event"] == "error")
    assert str(cache / "plans") in error["message"]
    assert str(PLAN) in error["message"], "minutes of measuring are not lost"
    assert "EMBEDCONSOLE_CACHE" in error["fix"]
    assert "Errno" not in error["message"]
