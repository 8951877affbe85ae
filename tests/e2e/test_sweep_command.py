"""`embedconsole sweep` on the real engine: one short grid, and what the store keeps of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.patience import HANGS_AFTER_S

EMBEDCONSOLE = (sys.executable, "-m", "console.cli")
SPEC = """
duration = "2s"
warm_up = "0.5s"
[grid]
backends = ["onnx"]
precisions = ["fp32"]
instances = [2, 1]
batch = 4
concurrency = 2
"""
MEASURED = (0, 2)
"""Exit codes ok and unstable; a busy machine may be unstable."""


def test_a_grid_is_measured_with_one_live_switch_and_found_again_with_its_environment(tmp_path: Path) -> None:
    (tmp_path / "short.toml").write_text(SPEC)
    store = ("--store", str(tmp_path / "runs.sqlite"))

    def embedconsole(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*EMBEDCONSOLE, *arguments], capture_output=True, text=True, check=False, timeout=HANGS_AFTER_S
        )

    done = embedconsole("sweep", str(tmp_path / "short.toml"), *store, "--json")
    assert done.returncode in MEASURED, done.stderr + done.stdout
    cells: list[dict[str, Any]] = json.loads(done.stdout)["cells"]
    assert [cell["status"] for cell in cells] == ["done", "done"]
    assert cells[1]["figures"]["effective"]["instances"] == 1
    listed = json.loads(embedconsole("runs", *store, "--json").stdout)
    assert {row["cell_hash"] for row in listed} == {cell["cell"] for cell in cells}
    shown = json.loads(embedconsole("runs", *store, "show", "last", "--json").stdout)
    environment = shown["environment"]
    assert environment["hash"] == shown["report"]["environment"]["hash"]
    assert environment["libraries"]["onnxruntime"]
    assert environment["memory_bytes"] > 0
    assert environment["cpu_flags"]
    assert len(environment["model"]["fingerprint"]) == 64
    assert len(shown["capabilities"]) > 5
    assert len(shown["intervals"]) >= 2
