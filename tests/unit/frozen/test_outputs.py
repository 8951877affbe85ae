"""What scripts and dashboards read, since commit 31acd2e: fields of JSON, events, codes, names. New ones may come."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.analysis.validity import Lag
from console.cli.main import main as console_main
from console.measure.driver_ceiling import Ceiling
from console.measure.result import as_json
from console.model.engine import Notice
from console.model.exit_codes import ExitCode
from console.model.load import LoadSpec
from engine.backends.recipes import RECIPES
from engine.capabilities.rules import RULES
from engine.cli import cli as engine_cli
from tests.support.engine_process import EngineProcess
from tests.unit.console.support.made import GOOD
from tests.unit.frozen.recorded import RECORDED, changed_fields, recorded

ROOT = Path(__file__).resolve().parents[3]
NAMES = recorded("names.json")
MAPS = ("errors", "libraries", "packages")
"""Objects whose keys are data."""


@pytest.fixture(scope="module")
def engine(artifact_cache: object) -> Iterator[EngineProcess]:
    """A real one that serves what it was not asked for, so that it has something to warn of."""
    running = EngineProcess("--backend", "onnx", "--precision", "bf16")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


def strings_in(*folders: str) -> set[str]:
    """Every string constant of the product's code, docstrings and parts of f-strings included."""
    found = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            nodes = ast.walk(ast.parse(path.read_text("utf-8")))
            found |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return found


def test_a_run_s_json_has_its_fields() -> None:
    spec = replace(GOOD.spec, load=LoadSpec(batch=1, rate=20.0, arrival="constant"), slo_p95_ms=0.5)
    engine = replace(GOOD.engine, warnings=(Notice("slow", "why", "what to do"),))
    measurement = replace(
        GOOD, spec=spec, engine=engine, ceiling=Ceiling(500.0, 90.0), lag=Lag(2000, 0.1, 0.2, 0.3), engine_cpu_cores=1.5
    )
    assert not changed_fields(recorded("outputs/run.json"), as_json(measurement), MAPS)


def test_the_capabilities_json_has_its_fields(engine: EngineProcess) -> None:
    done = CliRunner().invoke(engine_cli, ["capabilities", "--no-probe", "--json"])
    now = json.loads(done.stdout)
    (live,) = (cell for cell in now["cells"] if (cell["backend"], cell["precision"]) == ("onnx", "fp32"))
    assert live["measured"]["fidelity"] > 0.999, "the engine has remembered what it loaded"
    assert not changed_fields(recorded("outputs/capabilities.json"), now, MAPS)


def test_the_fidelity_json_has_its_fields_and_a_known_reference_is_not_computed_again(artifact_cache: Path) -> None:
    for path in (RECORDED / "cache" / "fidelity").iterdir():
        (artifact_cache / "fidelity").mkdir(exist_ok=True)
        shutil.copy(path, artifact_cache / "fidelity")
    engine = [sys.executable, "-m", "engine.cli"]
    corpus = str(RECORDED / "texts.txt")
    done = subprocess.run(
        [*engine, "fidelity", "--backend", "onnx", "--precision", "fp32", "--corpus", corpus, "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not changed_fields(recorded("outputs/fidelity.json"), json.loads(done.stdout))
    phases = {event["name"] for line in done.stderr.splitlines() if (event := json.loads(line))["event"] == "phase"}
    assert "measure" in phases
    assert "reference" not in phases, "the recorded fp32 reference is found"


def test_the_ready_line_has_its_fields(engine: EngineProcess) -> None:
    assert not changed_fields(recorded("engine.json")["ready"], engine.ready)


def test_the_engine_s_events_and_phases_have_their_names_and_fields(engine: EngineProcess) -> None:
    before = recorded("engine.json")
    told = [*list(engine.events), *in_use(engine)]
    kinds = {event["event"]: {name: type(value).__name__ for name, value in event.items()} for event in told}
    assert {name: kinds.get(name) for name in before["events"]} == before["events"]
    assert {event["name"] for event in told if event["event"] == "phase"} >= set(before["phases"])


def in_use(engine: EngineProcess) -> list[dict[str, object]]:
    """The events of a second engine that cannot have the first one's port."""
    refused = EngineProcess("--port", engine.address.rpartition(":")[2])
    assert refused.wait() == ExitCode.ENGINE_FAILED
    return list(refused.events)


def test_an_engine_ends_with_0_when_its_parent_lets_go(artifact_cache: object) -> None:
    starting = EngineProcess("--backend", "onnx")
    starting.close_stdin()
    assert starting.wait() == ExitCode.OK


def test_exit_codes_mean_what_they_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert {code.name: int(code) for code in ExitCode} == NAMES["exit_codes"]
    with pytest.raises(SystemExit) as refused:
        console_main(["run", "--batch", "none"])
    assert refused.value.code == NAMES["exit_codes"]["USAGE"]
    assert "--batch" in capsys.readouterr().err


def test_warning_and_error_codes_and_events_on_stdout_are_still_in_use() -> None:
    rules = {rule.code for rule in RULES}
    elsewhere = strings_in("engine")
    assert set(NAMES["warning_codes"]) - {"ran_otherwise", "probe_failed"} <= rules
    assert {"ran_otherwise", "probe_failed", *NAMES["error_codes"], *NAMES["stdout_events"]} <= elsewhere


def test_environment_variables_are_still_read() -> None:
    assert set(NAMES["environment_variables"]) <= strings_in("console", "engine")


def test_recipes_are_still_known_by_their_names() -> None:
    now = {(one.backend, one.precision, one.device, one.name): one.default for one in RECIPES}
    before = {tuple(cell): default for *cell, default in NAMES["recipes"]}
    assert {cell: now.get(cell) for cell in before} == before
