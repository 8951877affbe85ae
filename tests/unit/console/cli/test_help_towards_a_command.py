"""A command that does not exist names the one that was probably meant, and shells complete the names."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from console.cli.main import main
from console.store.write import add_tags
from tests.unit.console.support.made import GOOD, record, store_in


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("replay", "runs replay"),
        ("restore", "runs restore"),
        ("pin", "runs pin"),
        ("delete", "runs delete"),
        ("sweeps", "runs sweeps"),
        ("replya", "runs replay"),
        ("swep", "sweep"),
        ("calibrat", "calibrate"),
        ("live", "compare --live"),
        ("console", "embedconsole --start"),
        ("serve", "engine serve"),
        ("capabilities", "engine capabilities"),
    ],
)
def test_a_wrong_command_names_the_one_that_was_meant(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([word])
    error = capsys.readouterr().err
    assert ended.value.code == 3
    assert f"No such command {word!r}" in error
    assert f"did you mean `{meant}`" in error


def test_a_word_like_no_command_names_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["xyzzy"])
    assert "did you mean" not in capsys.readouterr().err


def test_below_runs_the_wrong_command_names_one_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["runs", "shwo"])
    assert ended.value.code == 3
    assert "did you mean `runs show`" in capsys.readouterr().err


def completed(words: str) -> set[str]:
    """What bash is offered for the last word."""
    environment = {
        **os.environ, "_EMBEDCONSOLE_COMPLETE": "bash_complete", "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "console.cli"], env=environment, capture_output=True, text=True, check=True
    )
    return {line.partition(",")[2] for line in done.stdout.splitlines()}


def test_shells_complete_commands_options_and_values() -> None:
    assert completed("embedconsole ma") == {"max-load"}
    assert completed("embedconsole runs re") == {"replay", "restore"}
    assert completed("embedconsole run --pre") == {"--precision"}
    assert {"onnx", "openvino", "torch"} <= completed("embedconsole run --backend ")


def test_names_of_runs_and_tags_are_completed_from_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDCONSOLE_STORE", str(tmp_path / "runs.sqlite"))
    assert completed("embedconsole runs show la") == {"last", "last-sweep"}
    assert not (tmp_path / "runs.sqlite").exists(), "a completion creates no store"
    with store_in(tmp_path) as store:
        record(store, replace(GOOD, run_id="r-20261123-100000-3fad"))
        add_tags(store, "r-20261123-100000-3fad", ["main"])
    for command in ("runs show", "compare", "report", "gate", "runs delete"):
        assert completed(f"embedconsole {command} r-") == {"r-20261123-100000-3fad"}
        assert completed(f"embedconsole {command} ma") == {"main"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_completion_script(shell: str) -> None:
    environment = {**os.environ, "_EMBEDCONSOLE_COMPLETE": f"{shell}_source"}
    command = [sys.executable, "-m", "console.cli"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "embedconsole" in done.stdout
