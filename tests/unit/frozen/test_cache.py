"""The user's cache: what commit 31acd2e kept is found again, under the same keys for the same inputs.

The machine, the versions and the folder of backends are made up, so that the keys are the same wherever this runs.
"""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from console.measure import driver_ceiling as driver_ceiling
from console.model.load import LoadSpec
from engine.artifacts import store as artifacts
from engine.artifacts.calibration import calibration_of
from engine.backends.base import Cell
from engine.backends.recipes import RECIPES
from engine.capabilities import probes
from engine.capabilities.measurements import Measurement, MeasurementStore
from engine.capabilities.probes import Probe, ProbeCache, ProbeResult, environment_hash
from engine.fidelity.corpus import corpus_from
from engine.fidelity.reference import reference_of
from engine.host.cache import FileHashes
from engine.host.machine import PlatformFacts
from engine.models.resolve import ModelFiles, resolve_model
from engine.tuning.plan import PlanCache, ServingPlan
from tests.unit.frozen.recorded import RECORDED, recorded

KEYS: dict[str, Any] = recorded("keys.json")
FACTS = PlatformFacts(
    name="linux-x86_64", system="linux", arch="x86_64", devices=("cpu",), cores=4, cpu_model="Made-up CPU",
    packages={"torch": "2.13.0", "onnxruntime": "1.22.0"}, isa=frozenset({"avx2", "avx512_vnni"}),
)  # fmt: skip
TORCH = Cell(backend="torch", precision="fp32", device="cpu", recipe="plain")
SMOOTHED = Cell(backend="onnx", precision="int8", device="cpu", recipe="smoothed")
NF4 = Cell(backend="openvino", precision="int4", device="cpu", recipe="nf4")
NOT_BUILT = Cell(backend="onnx", precision="fp16", device="cpu", recipe="")


@pytest.fixture(scope="module")
def bundled(artifact_cache: object) -> ModelFiles:
    return resolve_model(None)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for the backends' code."""
    folder = tmp_path / "backends"
    folder.mkdir()
    (folder / "base.py").write_text("FIRST = 1\n")
    (folder / "onnx.py").write_text("SECOND = 2\n")
    monkeypatch.setattr(probes, "_CODE", (folder,))
    return folder


@pytest.fixture
def cache(tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the recorded cache, on the machine and with the versions that it was made for."""
    folder = tmp_path / "cache"
    shutil.copytree(RECORDED / "cache", folder)
    monkeypatch.setenv("EMBEDCONSOLE_CACHE", str(folder))
    monkeypatch.setattr(probes, "__version__", "0.1.0")
    monkeypatch.setattr("platform.python_version", lambda: "3.11.9")
    monkeypatch.setattr("platform.platform", lambda: "Linux-made-up")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("importlib.metadata.version", lambda package: f"1.0+{package}")
    monkeypatch.setattr(driver_ceiling, "version", lambda package: f"1.0+{package}")
    monkeypatch.setattr(driver_ceiling, "_cpu_model", lambda: "Made-up CPU")
    monkeypatch.setattr(driver_ceiling, "_cores", lambda: 4)
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


def test_an_environment_keeps_its_hash(cache: Path) -> None:
    assert environment_hash(FACTS) == KEYS["environment"]


def test_a_changed_file_in_a_subfolder_of_the_backends_is_another_environment(code: Path) -> None:
    (code / "onnx").mkdir()
    (code / "onnx" / "runtime.py").write_text("THIRD = 3\n")
    before = environment_hash(FACTS)
    (code / "onnx" / "runtime.py").write_text("THIRD = 4\n")
    assert environment_hash(FACTS) != before


def test_the_same_backends_in_another_place_are_the_same_environment(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch/module.py", "onnx/runtime.py", "z.py"):
        (code / name).parent.mkdir(exist_ok=True)
        (code / name).write_text(f"NAME = {name!r}\n")
    before = environment_hash(FACTS)
    other = tmp_path / "installed" / "a-longer-name"
    shutil.copytree(code, other)
    (other / "__pycache__").mkdir()
    (other / "__pycache__" / "z.pyc").write_bytes(b"compiled")
    monkeypatch.setattr(probes, "_CODE", (other,))
    assert environment_hash(FACTS) == before


@pytest.mark.parametrize(
    "module",
    [
        "engine.backends.onnx.runtime", "engine.backends.openvino.runtime", "engine.backends.torch.runtime",
        "engine.backends.layout.packing",
        "engine.backends.onnx.quantize", "engine.backends.openvino.quantize", "engine.backends.torch.quantize",
        "engine.backends.recipes", "engine.backends.product_probe", "engine.artifacts.export",
        "engine.artifacts.derive", "engine.artifacts.prepare_child",
        "engine.artifacts.store", "engine.artifacts.reference_vectors",
    ],
)  # fmt: skip
def test_an_environment_depends_on_the_code_that_prepares_and_runs_a_probe(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find_spec(module)
    assert spec is not None
    changed, read = Path(spec.origin or ""), Path.read_bytes
    before = environment_hash(FACTS)
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + (b"# changed" if path == changed else b""))
    assert environment_hash(FACTS) != before


def test_what_was_probed_is_not_tried_again(cache: Path) -> None:
    assert ProbeCache(FACTS).read([TORCH, SMOOTHED, NF4, NOT_BUILT]) == {
        TORCH: Probe(ProbeResult.PASSED, "evidence 0"),
        SMOOTHED: Probe(ProbeResult.PASSED, "evidence 1"),
        NF4: Probe(ProbeResult.PASSED, "evidence 2"),
        NOT_BUILT: Probe(ProbeResult.FAILED, "evidence 3"),
    }


def test_a_probe_is_kept_under_the_same_key(cache: Path) -> None:
    before = files_in(cache / "probes")
    shutil.rmtree(cache / "probes")
    for number, cell in enumerate((TORCH, SMOOTHED, NF4, NOT_BUILT)):
        result = ProbeResult.FAILED if cell == NOT_BUILT else ProbeResult.PASSED
        ProbeCache(FACTS).add(cell, Probe(result, f"evidence {number}"))
    assert files_in(cache / "probes") == before


def test_measured_plans_are_found_by_cell_and_model(cache: Path) -> None:
    assert PlanCache(FACTS).find(TORCH, "") == ServingPlan(
        instances=4, threads=1, max_batch_tokens=4096, max_batch_items=32, pass_cost_tokens=16, texts_per_s=812.5
    )
    assert PlanCache(FACTS).find(SMOOTHED, "acme/encoder") == ServingPlan(
        instances=2, threads=2, max_batch_tokens=8192, max_batch_items=64, pass_cost_tokens=9, texts_per_s=1250.0
    )
    assert PlanCache(FACTS).find(SMOOTHED, "") is None


def test_a_plan_is_kept_under_the_same_key(cache: Path) -> None:
    before = files_in(cache / "plans")
    found = [(TORCH, "", PlanCache(FACTS).find(TORCH, ""))]
    found.append((SMOOTHED, "acme/encoder", PlanCache(FACTS).find(SMOOTHED, "acme/encoder")))
    shutil.rmtree(cache / "plans")
    for cell, model, plan in found:
        assert plan is not None
        PlanCache(FACTS).write(cell, model, plan)
    assert files_in(cache / "plans") == before


def test_last_measurements_are_found_by_model_environment_and_cell(cache: Path) -> None:
    store = MeasurementStore.of(KEYS["fingerprint"], KEYS["environment"])
    assert store.read() == {
        SMOOTHED: Measurement(texts_per_s=1234.5, loaded_cosine=0.9931),
        TORCH: Measurement(fidelity={"cosine": {"mean": 0.99999}}),
    }


def test_a_measurement_is_kept_under_the_same_key(cache: Path) -> None:
    (path,) = (cache / "measured").iterdir()
    before = json.loads(path.read_text())
    path.unlink()
    MeasurementStore.of(KEYS["fingerprint"], KEYS["environment"]).write(
        SMOOTHED, texts_per_s=1234.5, loaded_cosine=0.9931
    )
    (row,) = (name for name in before["cells"] if "int8" in name)
    now = json.loads(path.read_text())
    assert now["format"] == before["format"]
    assert now["cells"].keys() == {row}
    assert now["cells"][row].keys() == before["cells"][row].keys()


def test_a_model_keeps_its_fingerprint(bundled: ModelFiles) -> None:
    assert bundled.fingerprint == KEYS["fingerprint"]


@pytest.mark.parametrize("saturate", [False, True])
def test_every_recipe_s_artifact_keeps_its_key(
    cache: Path, bundled: ModelFiles, monkeypatch: pytest.MonkeyPatch, saturate: bool
) -> None:
    monkeypatch.setattr(artifacts, "int8_products_saturate", lambda: saturate)
    texts = calibration_of(("one text", "another text"))
    assert texts.hash == KEYS["calibration"]
    now = {}
    for one in RECIPES:
        cell = Cell(backend=one.backend, precision=one.precision, recipe=one.name, device=one.device)
        name = "/".join((one.backend, one.precision, one.device, one.name, str(saturate)))
        now[name] = artifacts.artifact_key(bundled, cell, texts)
    before = {name: key for name, key in KEYS["artifacts"].items() if name.endswith(str(saturate))}
    assert {name: now.get(name) for name in before} == before


def test_an_artifact_is_found_whole_and_listed(cache: Path, bundled: ModelFiles) -> None:
    store = artifacts.ArtifactStore.default()
    cell = Cell(backend="onnx", precision="fp32", recipe="plain", device="cpu")
    found = store.find(artifacts.artifact_key(bundled, cell), pytest.fail)
    assert found is not None
    assert (found.path / "model.onnx").read_bytes() == b"a model"
    assert found.reference.token_ids == [[101, 102], [101, 7, 102]]
    assert np.array_equal(found.reference.vectors, np.eye(2, 4, dtype=np.float32))
    (row,) = store.list()
    assert row.about["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert row.about["cell"] == {"backend": "onnx", "precision": "fp32", "recipe": "plain", "device": "cpu"}


async def test_an_fp32_reference_is_found_by_model_and_corpus(cache: Path, bundled: ModelFiles, tmp_path: Path) -> None:
    corpus = corpus_from(RECORDED / "texts.txt")
    nothing = artifacts.ArtifactStore(tmp_path / "nothing")
    texts = [[101, 102]] * len(corpus.texts)
    found = await reference_of(bundled, corpus, texts, nothing, lambda done: pytest.fail(f"{done} texts are computed"))
    assert found.unit.shape == found.batched_unit.shape == (len(corpus.texts), 384)
    assert np.allclose(np.linalg.norm(found.unit, axis=1), 1, atol=1e-5)


def test_a_file_s_hash_is_found_by_path_size_and_time(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"other bytes than were hashed")
    stat = path.stat()
    ((_, (_, _, digest)),) = recorded("cache/hashes.json").items()
    (cache / "hashes.json").write_text(json.dumps({str(path.resolve()): [stat.st_size, stat.st_mtime_ns, digest]}))
    assert FileHashes(cache).sha256(path) == digest
    (cache / "hashes.json").unlink()
    FileHashes(cache).sha256(path)
    ((name, row),) = json.loads((cache / "hashes.json").read_text()).items()
    assert (name, row[:2]) == (str(path.resolve()), [stat.st_size, stat.st_mtime_ns])


def test_the_driver_s_ceilings_are_found_by_environment_and_shape_of_load(cache: Path) -> None:
    open_loop = LoadSpec(
        batch=8, concurrency=2, workload="pairs", corpus="mixed", stream=True, seed=5, rate=12.5, arrival="constant",
        ramp_s=1.5, max_in_flight=64,
    )  # fmt: skip
    ceilings = driver_ceiling.Ceilings()
    assert ceilings.known(open_loop) == driver_ceiling.Ceiling(requests_per_s=1800.5, cpu_us_per_request=410.25)
    assert ceilings.known(LoadSpec()) == driver_ceiling.Ceiling(requests_per_s=2400.0, cpu_us_per_request=350.0)
