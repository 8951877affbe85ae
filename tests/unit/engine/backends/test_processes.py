"""Imports, number of threads and memory of a backend, each measured in a fresh process."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.cpu_time import least_cpu_s
from tests.support.patience import HANGS_AFTER_S
from tests.unit.engine.conftest import Prepared

RUNTIME = {"onnx": "onnxruntime", "openvino": "openvino"}
LOADED_LIMIT = 6.0
"""Limit of the CPU time, in multiples of that of importing the runtime alone. Importing torch takes more."""

_START = """
import json, sys, threading, time
import psutil
from engine.backends import Cell, backend
from engine.artifacts.store import ArtifactStore, artifact_key
from engine.models.resolve import resolve_model
from engine.models.tokenizer import Tokenizer
files = resolve_model(None)
tokenizer = Tokenizer.load(files)
process = psutil.Process()
def load(name, threads=1):
    cell = Cell(backend=name, precision="fp32", recipe="plain", device="cpu")
    artifact = ArtifactStore.default().find(artifact_key(files, cell), sys.exit)
    return backend(name).load(artifact.path, files.path, cell, threads)
texts = [text.ids for text in tokenizer.encode(["word " * (5 + 7 * n) for n in range(6)])]
"""


def run(body: str) -> dict[str, Any]:
    """Returns the JSON object that the process prints last."""
    command = [sys.executable, "-c", _START + body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_AFTER_S)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_serving_imports_neither_torch_nor_a_quantiser_and_starts_fast(name: str, prepared: Prepared) -> None:
    prepared("bundled", name)
    found = run(f"""
model = load("{name}")
spent_s = time.process_time()
model.executor(1)(texts)
heavy = sorted({{"torch", "transformers", "onnx", "nncf", "huggingface_hub"}} & sys.modules.keys())
print(json.dumps({{"heavy": heavy, "spent_s": spent_s}}))
""")
    assert found["heavy"] == []
    assert found["spent_s"] < LOADED_LIMIT * least_cpu_s(f"import numpy, tokenizers, {RUNTIME[name]}")


def test_one_thread_instances_never_start_more_threads_than_instances(prepared: Prepared) -> None:
    prepared("bundled", "onnx")
    prepared("bundled", "torch")
    for name in ("onnx", "torch"):
        found = run(f"""
model = load("{name}")
model.executor(1)(texts[:2])
before = process.num_threads()
counts = []
together = threading.Barrier(2)
def serve():
    run = model.executor(1)
    together.wait()
    for _ in range(3):
        run(texts)
    counts.append(process.num_threads())
    together.wait()
pair = [threading.Thread(target=serve) for _ in range(2)]
[thread.start() for thread in pair]
[thread.join() for thread in pair]
print(json.dumps({{"more": max(counts) - before}}))
""")
        assert found["more"] == 2, name


def test_memory_stays_flat_over_twenty_switches(prepared: Prepared) -> None:
    prepared("bundled", "onnx")
    prepared("bundled", "torch")
    found = run("""
seen = {"onnx": [], "torch": []}
for _ in range(10):
    for name in seen:
        model = load(name)
        instances = [model.executor(1) for _ in range(2)]
        for instance in instances:
            instance(texts)
        seen[name].append(process.memory_info().rss)
        model.close()
print(json.dumps(seen))
""")
    for name, rss_bytes in found.items():
        print(name, [size // 1_000_000 for size in rss_bytes])
        assert rss_bytes[-1] <= 1.15 * rss_bytes[1], name
