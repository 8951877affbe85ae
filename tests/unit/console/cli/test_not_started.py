"""What cannot be measured is said before anything is recorded: 3 for a mistake, 5 where nothing answers."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from console.cli.main import main
from console.store.database import Store
from console.store.read import list_runs, list_sweeps

GRID = '[grid]\nbackends = "onnx"\nprecisions = "fp32"\nbatch = [1, 2]\n'


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of a command that names none."""
    monkeypatch.setenv("EMBEDCONSOLE_STORE", str(tmp_path / "runs.sqlite"))
    return tmp_path / "runs.sqlite"


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def recorded(path: Path) -> tuple[int, int]:
    """Runs and sweeps in the store."""
    with Store.open(path) as store:
        return len(list_runs(store)), len(list_sweeps(store))


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["run", "--json"],
        ["run", "--coalesce", "off"],
        ["max-load", "--slo-p95", "50"],
        ["sweep", "SPEC"],
        ["compare", "--live", "onnx fp32", "onnx int8"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_where_nothing_listens_a_command_exits_with_5_and_records_nothing(
    command: list[str], path: Path, nowhere: str, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = path.parent / "mine.toml"
    spec.write_text(GRID)
    command = [str(spec) if word == "SPEC" else word for word in command]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--connect", nowhere, "--store", str(path)])
    output = capfd.readouterr()
    assert ended.value.code == 5
    assert f"nothing listens at {nowhere}" in output.out + output.err
    assert "trying again" not in output.out + output.err
    assert "recorded" not in output.err
    assert recorded(path) == (0, 0)


@pytest.mark.parametrize(
    "address",
    [
        "localhost",
        "localhost:0",
        "localhost:٣",
        ":50051",
        "http://localhost:50051",
        "local host:50051",
        "host/path:50051",
        "::1:50051",
        "[::1:50051",
        "[localhost]:50051",
        "a:1,b:2",
        "-host:50051",
        "999.1.1.1:50051",
        "user@host:50051",
    ],
)
@pytest.mark.parametrize("command", [["run"], ["sweep", "--preset", "quick"], []], ids=["run", "sweep", "console"])
def test_an_address_that_cannot_be_one_is_a_usage_error(
    command: list[str], address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--connect", address])
    assert ended.value.code == 3
    assert "host:port" in capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["localhost:1", "10.0.0.1:65535", "[::1]:50051", "lab-2.example.org:50051", "my_host:1"]
)
def test_every_form_of_an_address_is_taken(address: str) -> None:
    from console.cli.param_types import Address

    assert Address().convert(address, None, None) == address


def test_strict_without_a_cell_is_a_usage_error(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["run"], ["max-load", "--slo-p95", "50"], []):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--strict"])
        assert ended.value.code == 3
        assert "--strict needs a cell: name --backend or --precision" in capsys.readouterr().err


SCRIPT = """
import sys
from pathlib import Path
from console.commands.max_load import max_load_once
from console.commands.run import run_once
from console.measure.max_load import MaxLoadSpec
from console.measure.spec import RunSpec
from console.model.engine import EngineSpec
from console.model.load import LoadSpec
from console.session.port import SessionOptions
from console.store.database import Store

path, command, *flags = sys.argv[1:]
engine = (sys.executable, "-m", "tests.support.fake_engine", *flags)
load = LoadSpec(1, 1)
spec = EngineSpec(backend="onnx", precision="int8", recipe="bogus")
options = SessionOptions(spec, engine_command=engine, start=True)
store = Store.open(Path(path))
if command == "run":
    sys.exit(run_once(options, RunSpec(load), coalesce=None, as_json=True, store=store))
sys.exit(max_load_once(options, MaxLoadSpec(load, 50.0), store=store, as_json=True))
"""


def not_started(path: Path, command: str, *flags: str) -> "subprocess.CompletedProcess[str]":
    arguments = [sys.executable, "-c", SCRIPT, str(path), command, "--fail-start", *flags]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["run", "max-load"])
@pytest.mark.parametrize("flags", [("5", "cannot_run"), ("5", "no_model"), ("3", "usage")], ids=lambda flags: flags[1])
def test_what_the_engine_refuses_to_start_is_a_usage_error_and_leaves_no_run(
    command: str, flags: tuple[str, str], path: Path
) -> None:
    done = not_started(path, command, flags[0], "--fail-code", flags[1])
    assert done.returncode == 3, done.stderr
    assert "no backend 'nope'" in done.stdout
    assert "recorded" not in done.stderr
    assert recorded(path) == (0, 0)


def test_an_engine_that_breaks_at_its_start_leaves_a_failed_run_of_the_cell_that_was_asked_for(path: Path) -> None:
    done = not_started(path, "run", "5", "--fail-code", "failed")
    assert done.returncode == 5
    with Store.open(path) as store:
        (row,) = list_runs(store)
    assert (row.verdict, row.requested.cell) == ("failed", "onnx·int8·bogus")
