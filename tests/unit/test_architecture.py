"""What the static import contracts cannot see: what is really loaded, and that generated code is fresh."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNTIMES = {"torch", "onnxruntime", "openvino", "transformers", "tokenizers", "onnx"}


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split("\n")[-2].split())


def help_of(module: str) -> str:
    return f"sys.argv = ['x', '--help']\nimport {module}\ntry:\n    {module}.main()\nexcept SystemExit:\n    pass"


@pytest.mark.parametrize("module", ["engine.cli", "console.cli.main"])
def test_help_loads_nothing_heavy(module: str) -> None:
    loaded = modules_after(help_of(module))
    assert not loaded & (RUNTIMES | {"textual", "grpc", "numpy", "google"})


def test_the_console_loads_no_runtime() -> None:
    assert not modules_after("import console.tui.app, console.session") & RUNTIMES


def test_the_scheduler_loads_neither_the_wire_nor_a_runtime() -> None:
    assert not modules_after("import engine.scheduling") & (RUNTIMES | {"grpc", "google"})


def test_the_committed_stubs_are_what_the_proto_gives(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "proto/generate.py", "--out", str(tmp_path)], check=True, cwd=ROOT, capture_output=True,
        env={},  # as from a shell in which the environment was never activated
    )  # fmt: skip
    fresh = {path.name: path.read_text() for path in (tmp_path / "embed" / "v1").iterdir()}
    committed = ROOT / "engine" / "api" / "embed" / "v1"
    assert fresh == {name: (committed / name).read_text() for name in fresh}


def hand_written() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True, cwd=ROOT)
    return [ROOT / name for name in listed.stdout.split() if "_pb2" not in name]


def test_a_file_is_one_idea_of_less_than_400_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): n for path in hand_written() if (n := len(path.read_text().splitlines())) >= 400
    }
    assert not long
