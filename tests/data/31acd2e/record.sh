#!/bin/sh
# Records the rest beside make.sh's store: called by it, in the checkout of 31acd2e.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=${WORK:-/tmp/embedconsole-31acd2e}
PYTHON=${PYTHON:-python}
cd "$WORK/src"
export PYTHONPATH="$WORK/src" EMBEDCONSOLE_CACHE="$WORK/cache" EMBEDCONSOLE_STORE="$WORK/copy.sqlite"
cp "$HERE/runs.sqlite" "$EMBEDCONSOLE_STORE"
mkdir -p "$HERE/outputs"
embedconsole() { "$PYTHON" -m console.cli "$@"; }
engine() { "$PYTHON" -m engine.cli "$@"; }

# What commands print: of the store, and of the engine.
embedconsole runs --limit 0 --json > "$HERE/outputs/runs.json"
embedconsole runs sweeps --json > "$HERE/outputs/sweeps.json"
embedconsole report int8-or-not --format json > "$HERE/outputs/report.json"
embedconsole compare main fallback --json > "$HERE/outputs/compare.json"
embedconsole sweep "$HERE/sweep.toml" --resume --json > "$HERE/outputs/resumed.json" || test $? -lt 5
embedconsole keys > "$HERE/keymap.toml"
cp "$HERE/texts.txt" .
engine fidelity --backend onnx --corpus texts.txt --json > "$HERE/outputs/fidelity.json" 2> "$WORK/fidelity.log"
rm texts.txt
engine capabilities --no-probe --json > "$HERE/outputs/capabilities.json"
cp "$WORK/run.json" "$WORK/sweep.json" "$HERE/outputs/"

"$PYTHON" - "$HERE" "$WORK" <<'PYTHON'
import dataclasses, hashlib, importlib.metadata, json, os, pathlib, platform, re, shutil, sqlite3, subprocess, sys
from unittest.mock import patch

import numpy as np

here, work = map(pathlib.Path, sys.argv[1:])
cache = here / "cache"
shutil.rmtree(cache, ignore_errors=True)
os.environ["EMBEDCONSOLE_CACHE"] = str(cache)
os.chdir(here)


def write(name, value):
    (here / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")


# ---- the store: its schema, and every run as `runs show` prints it
with sqlite3.connect(here / "runs.sqlite") as store:
    tables = [row[0] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    run_ids = [row[0] for row in store.execute("SELECT id FROM run ORDER BY started_at")]
    schema = {
        "version": store.execute("PRAGMA user_version").fetchone()[0],
        "tables": {
            table: [list(row[1:]) for row in store.execute(f"PRAGMA table_info({table})")] for table in tables
        },
        "indexes": sorted(
            row[0] for row in store.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        ),
    }
store.close()
write("schema.json", schema)
show = [sys.executable, "-m", "console.cli", "runs", "show", "--json"]
shown = {run_id: json.loads(subprocess.check_output([*show, run_id], cwd=work / "src")) for run_id in run_ids}
for place, run in enumerate(shown.values()):  # what is alike in every run is kept of one
    run["intervals"] = run["intervals"][:2]
    if place:
        del run["capabilities"], run["environment"]
        (run["report"] or run["recovered"]).pop("environment")  # what is recovered tells that of the moment it is shown
write("outputs/shown.json", shown)

# ---- sweeps: the cells of every axis, of every setting, of the presets
from console.experiments.sweep_spec import PRESETS, parse_spec, preset

ONE = {
    "backends": '"onnx"', "precisions": '"int8"', "recipes": '"dynamic"', "instances": "2", "threads": "3",
    "max_batch_tokens": "512", "max_wait_ms": "1.5", "coalescing": "false", "batch": "7", "concurrency": "9",
    "rate": "12.5", "arrival": '"constant"', "workload": '"pairs"', "corpus": '"long"', "stream": "true",
}
texts = {f"[grid]\n{axis} = {value}\n" for axis, value in ONE.items()}
texts |= {"[grid]\n", '[grid]\ncorpus = "texts.txt"\n', '[grid]\nrate = 10\narrival = "constant"\n'}
SETTINGS = {
    "seed": "3", "repeats": "2", "duration": '"4s"', "warm_up": '"0s"', "slo_p95_ms": "20", "model": '"acme/encoder"',
    "device": '"cpu"', "strict": "true", "fidelity": "true", "name": '"named"',
}
texts |= {f"{key} = {value}\n[grid]\n" for key, value in SETTINGS.items()}
texts.add((here / "every-axis.toml").read_text())
write("cells.json", {
    "specs": {text: [cell.hash for cell in parse_spec(text, "spec", "spec").cells] for text in sorted(texts)},
    "presets": {name: [cell.hash for cell in preset(name).cells] for name in PRESETS},
    "preset_texts": {name: preset(name).text for name in PRESETS},
})

# ---- the console's state: every field other than its default
from console.frame import EngineSpec, LoadSpec
from console.remembered import Memory, Remembered

state = Remembered(
    theme="light", mode="runs", zoom_s=300.0, log_y=True,
    load=LoadSpec(8, 2, "pairs", "mixed", True, 5, 12.5, "constant", 1.5, 64),
    engine=EngineSpec("acme/encoder", "onnx", "int8", "dynamic", "cpu", 2, 1, True, False, 50061, 2048, 16, 1.5),
)
Memory(here / "console.json").keep(state)

# ---- the driver's lines
from console.load.protocol import (
    Answers, Change, Changed, Interval, Ready, Refused, Start, Started, Stop, Stopped, Tick, encode_command,
    encode_event,
)

answers = Answers(3, 24, "HISTFAAAABx4nJNpmSzMwMDAxAABzFCaEUoDAQ==", 4500)
events = [
    Ready(7), Started(1.5, "short", 64), Changed(2.5, 64), Refused("no such corpus"), Stopped(9.5, 3, 24, {"UNKNOWN": 1}, 2),
    Tick(1.6, 3, 24, 1, 2, 4),
    Interval(
        4, 1.5, 1.0, answers, 8, {"UNAVAILABLE": 2}, 1, 3, 400, 5, 0.25, 3.5, "lag", 6, 1, 1.6, 2.4,
        {"queue": 0.5, "tokenize": 0.25, "infer": 2.0, "serialize": 0.125}, {"1": answers},
        {"1": {"backend": "onnx", "precision": "fp32"}}, "UNAVAILABLE: draining",
    ),
]
commands = [Start("127.0.0.1:1", state.load, 65536), Change(state.load), Stop()]
(here / "driver-events.jsonl").write_bytes(b"".join(map(encode_event, events)))
(here / "driver-commands.jsonl").write_bytes(b"".join(map(encode_command, commands)))

# ---- the wire
from engine.api import embed_pb2

descriptor = embed_pb2.DESCRIPTOR


def fields(message):
    return {
        field.name: [
            field.number, field.type, field.is_repeated,
            (field.message_type or field.enum_type).full_name if field.message_type or field.enum_type else "",
            field.containing_oneof.name if field.containing_oneof else "",
        ]
        for field in message.fields
    }


write("wire.json", {
    "package": descriptor.package,
    "messages": {name: fields(message) for name, message in descriptor.message_types_by_name.items()},
    "enums": {
        name: {value.name: value.number for value in enum.values}
        for name, enum in descriptor.enum_types_by_name.items()
    },
    "services": {
        name: {
            method.name: [
                method.input_type.full_name, method.client_streaming, method.output_type.full_name,
                method.server_streaming,
            ]
            for method in service.methods
        }
        for name, service in descriptor.services_by_name.items()
    },
})

# ---- the engine's process: the ready line, and the fields of each event on stderr
engine = [sys.executable, "-m", "engine.cli", "serve", "--port", "0", "--no-tune", "--backend", "onnx"]
environment = {**os.environ, "EMBEDCONSOLE_CACHE": str(work / "cache")}
served = subprocess.Popen(
    [*engine, "--precision", "bf16"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    env=environment, cwd=work / "src",
)
ready = json.loads(served.stdout.readline())
_, told = served.communicate()
refused = subprocess.run(
    [*engine, "--host", "256.0.0.1"], stdin=subprocess.PIPE, capture_output=True, text=True, env=environment,
    cwd=work / "src",
)
lines = [json.loads(line) for line in (told + refused.stderr).splitlines() if line.startswith("{")]
write("engine.json", {
    "ready": ready,
    "events": {line["event"]: {name: type(value).__name__ for name, value in line.items()} for line in lines},
    "phases": sorted({line["name"] for line in lines if line["event"] == "phase"}),
})

# ---- names
from console.experiments.command import ExitCode
from engine.backends.recipes import RECIPES
from engine.rules import RULES

source = "".join(
    path.read_text() for folder in ("console", "engine") for path in sorted((work / "src" / folder).rglob("*.py"))
)
write("names.json", {
    "environment_variables": sorted(set(re.findall(r"EMBEDCONSOLE_[A-Z]+", source))),
    "warning_codes": sorted({rule.code for rule in RULES if rule.code} | {"ran_otherwise", "probe_failed"}),
    "error_codes": sorted(set(re.findall(r'reporter\.error\("(\w+)"', source)) | {"cannot_bind"}),
    "stdout_events": sorted(set(re.findall(r'reporter\.data\("(\w+)"', source))),
    "exit_codes": {code.name: int(code) for code in ExitCode},
    "recipes": [[one.backend, one.precision, one.device, one.name, one.default] for one in RECIPES],
})

# ---- the cache, for a made-up machine, made-up versions and a made-up folder of backends
import console.experiments.calibration as calibration
import engine.backends.artifacts as artifacts
import engine.probes as probes
from engine.backends.base import Cell
from engine.backends.calibration import calibration_of
from engine.backends.reference import ReferenceVectors
from engine.cache import FileHashes
from engine.capabilities import Choice
from engine.machine import PlatformFacts
from engine.measured import MeasuredStore
from engine.model import resolve_model
from engine.plans import PlanCache, ServingPlan
from engine.probes import Probe, ProbeCache, ProbeResult, environment_hash

code = work / "backends"
code.mkdir(exist_ok=True)
(code / "base.py").write_text("FIRST = 1\n")
(code / "onnx.py").write_text("SECOND = 2\n")
facts = PlatformFacts(
    name="linux-x86_64", system="linux", arch="x86_64", devices=("cpu",), cores=4, cpu_model="Made-up CPU",
    packages={"torch": "2.13.0", "onnxruntime": "1.22.0"}, isa=frozenset({"avx2", "avx512_vnni"}),
)
CHOICES = [
    Choice(backend="torch", precision="fp32", device="cpu", recipe="plain"),
    Choice(backend="onnx", precision="int8", device="cpu", recipe="smoothed"),
    Choice(backend="openvino", precision="int4", device="cpu", recipe="nf4"),
    Choice(backend="onnx", precision="fp16", device="cpu", recipe=""),
]
files = resolve_model(None)
shutil.rmtree(cache)  # resolving has remembered hashes by absolute path
keys = {"fingerprint": files.fingerprint}
with (
    patch.object(probes, "_BACKENDS", code),
    patch.object(probes, "__version__", "0.1.0"),
    patch("platform.python_version", lambda: "3.11.9"),
    patch("platform.platform", lambda: "Linux-made-up"),
    patch("platform.machine", lambda: "x86_64"),
    patch("importlib.metadata.version", lambda package: f"1.0+{package}"),
    patch.object(calibration, "version", lambda package: f"1.0+{package}"),
    patch.object(calibration, "_cpu_model", lambda: "Made-up CPU"),
    patch.object(calibration, "_cores", lambda: 4),
):
    keys["environment"] = environment_hash(facts)
    for number, choice in enumerate(CHOICES):
        result = ProbeResult.FAILED if number == 3 else ProbeResult.PASSED
        ProbeCache(facts).add(choice, Probe(result, f"evidence {number}"))
    PlanCache(facts).write(CHOICES[0], "", ServingPlan(4, 1, 4096, 32, 16, 812.5))
    PlanCache(facts).write(CHOICES[1], "acme/encoder", ServingPlan(2, 2, 8192, 64, 9, 1250.0))
    measured = MeasuredStore.of(files.fingerprint, keys["environment"])
    measured.write(CHOICES[1], texts_per_s=1234.5, loaded_cosine=0.9931)
    measured.write(CHOICES[0], fidelity={"cosine": {"mean": 0.99999}})
    calibration.Ceilings().keep(state.load, calibration.Ceiling(1800.5, 410.25), 384)
    calibration.Ceilings().keep(LoadSpec(), calibration.Ceiling(2400.0, 350.0), 384)
    texts = calibration_of(("one text", "another text"))
    keys["calibration"] = texts.hash
    keys["artifacts"] = {}
    for recipe in RECIPES:
        for saturate in (False, True):
            with patch.object(artifacts, "int8_products_saturate", lambda saturate=saturate: saturate):
                cell = Cell(
                    backend=recipe.backend, precision=recipe.precision, recipe=recipe.name, device=recipe.device
                )
                name = "/".join((cell.backend, cell.precision, cell.device, cell.recipe, str(saturate)))
                keys["artifacts"][name] = artifacts.artifact_key(files, cell, texts)
    cell = Cell(backend="onnx", precision="fp32", recipe="plain", device="cpu")

    def build(folder):
        (folder / "model.onnx").write_bytes(b"a model")
        ReferenceVectors([[101, 102], [101, 7, 102]], np.eye(2, 4, dtype=np.float32)).save(folder)

    artifacts.ArtifactStore.default().publish(
        artifacts.artifact_key(files, cell), build, artifacts.about(files, cell), print
    )
    shutil.rmtree(cache / "artifacts" / "locks")
    (cache / "artifacts" / "hashes.json").unlink()
    for lock in cache.rglob("*.lock"):
        lock.unlink()
write("keys.json", keys)
(cache / "fidelity").mkdir()
newest = max((work / "cache" / "fidelity").glob("*.npz"), key=lambda path: path.stat().st_mtime)
shutil.copy(newest, cache / "fidelity")
hashed = work / "hashed.bin"
hashed.write_bytes(b"some bytes")
FileHashes(work / "hashes").sha256(hashed)
row, = json.loads((work / "hashes" / "hashes.json").read_text()).values()
assert row == [hashed.stat().st_size, hashed.stat().st_mtime_ns, hashlib.sha256(b"some bytes").hexdigest()]
write("cache/hashes.json", {"{path}": ["{size_bytes}", "{mtime_ns}", row[2]]})
PYTHON
