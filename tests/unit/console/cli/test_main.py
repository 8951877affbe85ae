"""The command line: quick, light, and clear about what it was given."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from console.cli.main import main
from tests.support.cpu_time import least_cpu_s

HELP_LIMIT = 4.0
"""Times what the library of command lines costs alone. Any of the heavy ones costs more than that."""
HEAVY = {"textual", "grpc", "numpy", "torch", "onnxruntime", "openvino", "hdrh", "google.protobuf"}


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["sweep", "--help"], ["runs", "--help"]])
def test_help_answers_at_once_and_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from console.cli.main import main
try:
    main({arguments!r})
finally:
    print("LOADED", *sys.modules)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(output.rpartition("LOADED")[2].split())
    assert not HEAVY & loaded
    assert least_cpu_s(code) < HELP_LIMIT * _library_s()
    assert "embedconsole" in output


@cache
def _library_s() -> float:
    return least_cpu_s("import cloup")


def test_without_a_terminal_one_line_names_the_command_to_use_instead() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "console.cli"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "embedconsole run --batch 32 --concurrency 4 --duration 10s" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--duration", "soon"], "'soon' is not a duration: write for example 10s"),
        (["run", "--duration", "0.2s"], "out of range: from 1s to 2h"),
        (["run", "--duration", "nan"], "out of range"),
        (["run", "--connect", "localhost"], "not host:port"),
        (["run", "--connect", "localhost:99999"], "port from 1 to 65535"),
        (["run", "--connect", "localhost:50051", "--backend", "onnx"], "give one of them"),
        (["run", "--port", "70000"], "--port"),
        (["run", "--batch", "0"], "--batch"),
        (["run", "--concurrency", "many"], "--concurrency"),
        (["run", "--corpus", "nowhere.txt"], "not one of short, mixed, long, and no such file"),
        (["run", "--backend", "tensorflow"], "'auto', 'torch', 'onnx', 'openvino'"),
        (["run", "--precision", "int3"], "fp32"),
        (["run", "--workload", "pairs", "--stream"], "leave out --stream"),
        (["run", "--instances", "-1"], "neither `auto` nor a whole number"),
        (["sweep"], "give a specification (SPEC.toml), or --preset quick|seed|latency|throughput"),
        (["sweep", "a.toml", "--preset", "quick"], "give a specification (SPEC.toml), or --preset"),
        (["sweep", "nowhere.toml"], "nowhere.toml cannot be read: No such file or directory; --preset has quick"),
        (["sweep", "--preset", "quick", "--resume", "--no-store"], "--resume needs the store"),
        (["run", "--rate", "0"], "--rate"),
        (["run", "--rate", "10", "--arrival", "bursty"], "'poisson', 'constant'"),
        (["run", "--arrival", "constant"], "give --rate too"),
        (["run", "--max-in-flight", "10"], "give --rate too"),
        (["run", "--ramp", "auto"], "'auto' is not a duration: write for example 10s, 500ms or 2m"),
        (["swep"], "No such command"),
    ],
)
def test_usage_errors_exit_3_with_what_is_wrong_and_where_to_look(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    output = capsys.readouterr()
    assert ended.value.code == 3
    assert expected in output.err
    assert "--help" in output.err
    assert output.out == ""


def test_a_corpus_that_is_not_utf8_is_a_usage_error_with_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(b"fine\n\xff\xfe\n")
    with pytest.raises(SystemExit) as ended:
        main(["run", "--corpus", str(path)])
    assert ended.value.code == 3
    assert "offset 5, line 2" in capsys.readouterr().err
