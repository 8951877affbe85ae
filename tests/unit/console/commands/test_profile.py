"""The engine's profile is recorded by py-spy into a file, or it is said why not."""

import os
import sys
from pathlib import Path

import pytest

from console.cli.main import main
from console.commands.profile import CannotProfile, py_spy_command, record


def stand_in(folder: Path, body: str) -> str:
    """A program in py-spy's place; its arguments are in sys.argv."""
    path = folder / "py-spy"
    path.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(("ending", "kind"), [("svg", "flamegraph"), ("json", "speedscope"), ("txt", "raw")])
def test_the_ending_says_what_is_written(ending: str, kind: str) -> None:
    command = py_spy_command("py-spy", 7, 9.5, Path(f"engine.{ending}"))
    assert command[command.index("--format") + 1] == kind
    assert command[command.index("--duration") + 1] == "10"
    assert "--nonblocking" in command


async def test_the_file_is_written(tmp_path: Path) -> None:
    program = stand_in(tmp_path, "open(sys.argv[sys.argv.index('--output') + 1], 'w').write('stacks')")
    await record(program, os.getpid(), 1.0, tmp_path / "engine.txt")
    assert (tmp_path / "engine.txt").read_text() == "stacks"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("sys.exit('Error: Permission Denied: try running again with sudo')", "SYS_PTRACE"),
        ("sys.exit('Error: no python in that process')", "py-spy failed: Error: no python"),
        ("", "py-spy failed: exit code 0"),
    ],
)
async def test_what_py_spy_may_not_or_cannot_is_told(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(CannotProfile, match=says):
        await record(stand_in(tmp_path, body), os.getpid(), 1.0, tmp_path / "engine.txt")


async def test_an_engine_on_another_machine_cannot_be_recorded_from_here(tmp_path: Path) -> None:
    with pytest.raises(CannotProfile, match="run profile where the engine runs"):
        await record("py-spy", 2**22 + 1, 1.0, tmp_path / "engine.txt")


@pytest.mark.parametrize(
    ("name", "says"), [("engine.png", "one of .svg, .json, .txt"), ("no/where.svg", "does not exist")]
)
def test_a_file_that_cannot_be_is_refused_before_an_engine_starts(
    name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["profile", "-o", name])
    assert ended.value.code == 3
    assert says in capsys.readouterr().err
