"""Faults are injected into an engine that allows them, and into no other."""

import subprocess
import sys
from pathlib import Path

from tests.support.patience import HANGS_AFTER_S


def serve(faults: Path, *flags: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", "serve", "--port", "0", *flags], capture_output=True, text=True,
        timeout=HANGS_AFTER_S, stdin=subprocess.DEVNULL, env={"ENGINE_FAULTS": str(faults)},
    )  # fmt: skip
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_an_engine_refuses_faults_without_the_option(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nkind = "hang"\n', "utf-8")
    code, stderr = serve(faults)
    assert code == 3
    assert "--allow-faults" in stderr


def test_faults_that_cannot_be_read_are_a_usage_error(tmp_path: Path) -> None:
    code, stderr = serve(tmp_path / "none.toml", "--allow-faults")
    assert code == 3
    assert "none.toml" in stderr
