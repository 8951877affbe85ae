"""Runs as a machine recorded them, written to a real store and read back, for screens to show."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from console.analysis.steady_state import Judgement, Rates
from console.load.protocol import Interval
from console.measure.measurement import Measurement
from console.measure.result import as_json
from console.measure.spec import RunSpec
from console.model.engine import Deployment, Engine, Machine, Notice
from console.model.frame import LogLine
from console.model.load import LoadSpec, Percentiles, Stages
from console.services.runs import opened
from console.session.live_metrics import Batches, EngineSample
from console.store.database import Store
from console.store.opened_run import OpenedRun
from console.store.read import RunRow, list_runs, load_run
from console.store.rows import interval_row
from console.store.write import add_intervals, add_note, add_tags, begin_run, finish_run
from tests.console.fakes.experiments import FakeExperiments, FakeRuns
from tests.unit.console.support.intervals import answers, second
from tests.unit.console.support.made import GOOD, SHAKY, STEADY, start_of

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
# backend, precision, recipe, batch, concurrency, texts/s, p50 ms, cosine to fp32, verdict-like kind
MEASURED = (
    ("onnx", "fp32", "", 32, 4, 612.0, 205.0, 1.0, "ok"),
    ("onnx", "int8", "static", 32, 4, 771.0, 163.0, 0.9954, "ok"),
    ("torch", "fp32", "", 32, 4, 402.0, 316.0, 1.0, "unstable"),
    ("torch", "bf16", "", 32, 4, 58.0, 2180.0, 0.99996, "ok"),
    ("openvino", "int8", "static-nncf", 32, 4, 905.0, 139.0, 0.9971, "ok"),
    ("torch", "int4", "nf4", 32, 4, 96.0, 1310.0, 0.941, "ok"),
    ("onnx", "fp32", "", 1, 1, 148.0, 6.4, 1.0, "ok"),
    ("onnx", "int8", "static", 1, 32, 402.0, 78.0, 0.9954, "client_bound"),
    ("openvino", "fp32", "", 32, 4, 655.0, 193.0, 1.0, "failed"),
    ("onnx", "fp16", "", 32, 4, 609.0, 207.0, 1.0, "fallback"),
    ("torch", "int8", "dynamic", 8, 8, 331.0, 190.0, 0.9871, "unfinished"),
)


def _second(index: int, level: float, p50_ms: float, batch: int) -> Interval:
    wave = 1 + 0.03 * math.sin(index * 1.3)
    requests = max(1, round(level * wave / batch))
    latencies = [p50_ms * (0.8 + 0.02 * (n * 7 % 40)) for n in range(requests)]
    made = second(index, requests)
    return replace(made, answers=answers(latencies, batch))


def _counted(second_no: int, level: float, batch: int) -> EngineSample:
    """The engine's own counters at the end of that second."""
    items = round(level * second_no)
    batches = max(1, round(items / min(64.0, batch * 0.9)))
    return EngineSample(
        *(float(second_no), 418_000_000 + 100_000 * second_no, 20 + second_no * 7 % 30, 4, 1.62 * second_no),
        *(batches, items, items * 13, items * 14),
    )


def _measurement(ordinal: int) -> Measurement:
    backend, precision, recipe, batch, concurrency, texts, p50_ms, cosine, kind = MEASURED[ordinal]
    asked = Deployment(backend, precision, "", "cpu", MODEL)
    runs = replace(asked, recipe=recipe, instances=2, threads=1)
    warnings: tuple[Notice, ...] = ()
    if kind == "fallback":
        runs = replace(runs, precision="fp32")
        warnings = (Notice("no_fp16", "fp16 is not executed by this CPU: fell back to fp32", "ask for fp32"),)
    machine = Machine("lab-2", "linux-x86_64", "Linux", ("avx2",), 8 << 30, "performance")
    engine = Engine(requested=asked, effective=runs, warnings=warnings, cores=2, cpu_model="AMD EPYC 7B13")
    n = round(texts / batch * 10)
    failed = kind == "failed"
    few = n < 130
    return replace(
        GOOD,
        run_id=f"r-20261123-10{ordinal:02}00-{0x3FA2 + 977 * ordinal:04x}",
        spec=RunSpec(LoadSpec(batch, concurrency), 10.0, 2.0, 250.0 if ordinal == 0 else None),
        engine=replace(engine, machine=machine),
        rates=None if failed else Rates(texts / batch, texts, 0.0, texts * 0.975, texts * 1.025),
        latency=Percentiles()
        if failed
        else Percentiles(
            n,
            p50_ms * 1.03,
            p50_ms,
            p50_ms * 1.3,
            None if few else p50_ms * 1.5,
            None if n < 662 else p50_ms * 1.9,
            p50_ms * 2.2,
        ),
        throughput_judgement=SHAKY if kind == "unstable" else STEADY,
        p95_judgement=Judgement(True, "steady") if kind != "unstable" else SHAKY,
        stages=Stages(p50_ms * 0.2, p50_ms * 0.05, p50_ms * 0.73, p50_ms * 0.02),
        batches=Batches(min(64.0, batch * 0.9), 400.0, 0.07),
        rss_bytes=int((612 if backend == "torch" else 418) * 1e6),
        saturated=kind == "client_bound",
        errors={"UNAVAILABLE": 3} if failed else {},
        fidelity=None if failed else cosine,
        failure="the engine was lost (killed by SIGKILL)" if failed else "",
    )


def _write(store: Store, ordinal: int) -> None:
    measurement, kind = _measurement(ordinal), MEASURED[ordinal][-1]
    start = start_of(measurement, f"2026-11-23T10:{ordinal:02}:00.000Z")
    libraries = {"onnxruntime": "1.23.2" if ordinal % 2 else "1.24.0", "openvino": "2026.4", "torch": "2.13"}
    place = {
        "hash": f"e{ordinal % 2}",
        "cpu_model": "AMD EPYC 7B13",
        "cores": 2,
        "governor": "performance",
        "host_name": "lab-2",
        "libraries": libraries,
        "model": {"id": MODEL},
        "git": {"revision": "f7a576b0c2d1aa", "dirty": False},
    }
    begin_run(store, replace(start, environment=place))
    texts, p50_ms, batch = MEASURED[ordinal][5], MEASURED[ordinal][6], MEASURED[ordinal][3]
    seconds = 4 if kind in {"failed", "unfinished"} else 12
    rows = [
        interval_row(_second(index, texts, p50_ms, batch), _counted(index + 1, texts, batch), 0.0, 2.0)
        for index in range(seconds)
    ]
    add_intervals(store, measurement.run_id, rows, 0)
    if kind != "unfinished":
        events = (LogLine(1, f"10:{ordinal:02}:00", "driver", "event", f"load on: closed loop, batch {batch}"),)
        finish_run(store, measurement.run_id, f"2026-11-23T10:{ordinal:02}:13.000Z", as_json(measurement), events)


@cache
def recorded() -> tuple[tuple[RunRow, ...], dict[str, OpenedRun]]:
    """Rows, newest first, and every run whole."""
    with TemporaryDirectory() as folder, Store.open(Path(folder) / "runs.sqlite") as store:
        for ordinal in range(len(MEASURED)):
            _write(store, ordinal)
        first = _measurement(0).run_id
        add_tags(store, first, ("main", "baseline"))
        add_note(store, first, "quiet machine, governor fixed", "2026-11-23T11:00:00Z")
        add_tags(store, _measurement(4).run_id, ("candidate",))
        rows = tuple(list_runs(store))
        return rows, {row.run_id: opened(load_run(store, row.run_id)) for row in rows}


def experiments(count: int | None = None) -> FakeExperiments:
    """A port with the recorded runs; `count`: repeated until there are so many."""
    rows, whole = recorded()
    listed, known = list(rows), dict(whole)
    if count is not None:
        listed = [rows[n % len(rows)]._replace(run_id=f"r-{n:05}") for n in range(count)]
        known = {row.run_id: whole[rows[n % len(rows)].run_id] for n, row in enumerate(listed)}
    return FakeExperiments(FakeRuns(known, listed))
