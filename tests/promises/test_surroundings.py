"""Terminals and pipes of any encoding degrade the output of a command and never its exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import HANGS_AFTER_S

ENCODINGS = ["latin-1", "cp1252", "ascii"]


def command(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Runs a command with its outputs in pipes."""
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, timeout=HANGS_AFTER_S, check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "words",
    [("engine.cli", "capabilities", "--no-probe"), ("console.cli", "keys"), ("console.cli", "runs")],
    ids=lambda words: words[1],
)
def test_a_command_does_not_fail_for_a_letter_that_the_pipe_lacks(words: tuple[str, ...], encoding: str) -> None:
    done = command(*words, environment={"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


def test_a_run_prints_its_result_to_a_latin_1_pipe(artifact_cache: Path) -> None:
    done = command(
        "console.cli", "run", "--backend", "onnx", "--precision", "fp32", "--instances", "1", "--threads", "1",
        "--duration", "1s", "--warmup", "0s", "--batch", "1", environment={"PYTHONIOENCODING": "latin-1"},
    )  # fmt: skip
    assert b"UnicodeEncodeError" not in done.stderr
    assert b"texts/s" in done.stdout
    assert done.returncode in (0, 2, 4), "the verdict on the measurement, not a failure"
