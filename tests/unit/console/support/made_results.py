"""A made-up sweep like those that are recorded: deployments, batches, coalescing off and on, and what goes wrong."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from console.analysis.steady_state import Judgement, Rates
from console.measure.measurement import Measurement
from console.measure.result import as_json
from console.measure.spec import RunSpec
from console.model.engine import Batching, CapabilityCell, CellState, Deployment, Engine, Notice
from console.model.load import LoadSpec, Percentiles, Stages
from console.session.live_metrics import Batches
from console.store.database import Store
from console.store.rows import interval_row
from console.store.write import add_intervals, begin_run, begin_sweep, finish_run
from console.sweep.point import in_order
from console.sweep.spec import preset
from tests.unit.console.support.intervals import second
from tests.unit.console.support.made import SHAKY, STEADY, start_of

MATRIX = (
    CapabilityCell("onnx", "fp32", "cpu", CellState.NATIVE, fidelity=1.0),
    CapabilityCell("onnx", "int8", "cpu", CellState.NATIVE, "dynamic", fidelity=0.993),
    CapabilityCell("torch", "fp16", "cpu", CellState.SLOW, reason="no fp16 arithmetic", fix="use fp32"),
    CapabilityCell(
        "openvino", "bf16", "cpu", CellState.FALLS_BACK, effective=Deployment("openvino", "fp32"), reason="no bf16 here"
    ),
    CapabilityCell("torch", "fp8", "cpu", CellState.UNAVAILABLE, reason="a CPU has no fp8", fix="use a GPU"),
)
_SPEEDS = {
    ("torch", "fp32"): (500.0, 1.0, 600),
    ("onnx", "fp32"): (900.0, 1.0, 250),
    ("onnx", "int8"): (1400.0, 0.993, 220),
    ("torch", "int4"): (250.0, 0.967, 980),
}
"""texts/s at 32 × 4, mean cosine, RSS in MiB."""
SECONDS = 10


def results_in(store: Store, sweep_id: str = "s-1", name: str = "made") -> None:
    """Batches 1, 8 and 32 with 4 in flight, 1 × 1, coalescing off and on, a fallback and a failure."""
    begin_sweep(store, sweep_id, name, "2026-11-23T10:00:00Z", 1, 0, "")
    found: list[Measurement] = []
    for (backend, precision), (speed, cosine, rss) in _SPEEDS.items():
        live = Deployment(backend, precision, "", "cpu", "fake/MiniLM", 2, 1)
        for batch, concurrency, share in ((1, 1, 0.15), (1, 4, 0.4), (8, 4, 0.8), (32, 4, 1.0)):
            made = measured(live, LoadSpec(batch, concurrency), speed * share, rss_mib=rss)
            found.append(replace(made, fidelity=cosine))
    onnx = Deployment("onnx", "fp32", "", "cpu", "fake/MiniLM", 2, 1)
    for callers in (1, 4, 16, 32):
        found.append(measured(onnx, LoadSpec(1, callers), 135.0 + callers, coalesce=False))
        if callers not in (1, 4):
            found.append(measured(onnx, LoadSpec(1, callers), 135.0 + 20 * callers))
    found.append(_fallen_back())
    found.append(replace(measured(onnx, LoadSpec(64, 8), 0.0), failure="the engine was lost (killed by SIGKILL)"))
    found.append(replace(measured(onnx, LoadSpec(16, 4), 700.0), throughput_judgement=SHAKY))
    for number, measurement in enumerate(found):
        keep(store, replace(measurement, run_id=f"r-{sweep_id}-{number:02}"), number, sweep_id)


def quick_in(store: Store, sweep_id: str = "s-1") -> None:
    """The cells of the preset `quick`, too short to judge as they often are."""
    spec = preset("quick")
    begin_sweep(store, sweep_id, spec.name, "2026-11-23T10:00:00Z", spec.seed, len(spec.points), spec.text)
    short = Judgement(False, "too short to judge: 2 of 3 windows of at least 1 s and 50 requests", short=True)
    for number, point in enumerate(in_order(spec.points, spec.seed)):
        int8 = point.target.precision == "int8"
        live = replace(point.target, recipe="smoothed" if int8 else "", instances=2, threads=1, device="cpu")
        load = point.run.load
        speed = (1.0 if int8 else 0.4) * (1000.0 if load.batch == 32 else 110.0 * load.concurrency)
        made = measured(live, load, speed, rss_mib=210 + number)
        made = replace(
            made,
            run_id=f"r-20261123-10{number:02}00-a1b{number}",
            fidelity=0.9953 if int8 else 1.0,
            throughput_judgement=made.throughput_judgement if number == 2 else short,
        )
        keep(store, made, number, sweep_id)


def measured(
    live: Deployment, load: LoadSpec, texts_per_s: float, *, coalesce: bool = True, rss_mib: int = 300
) -> Measurement:
    """A steady run of ten seconds; latency follows from Little's law."""
    requests_per_s = texts_per_s / load.batch
    n = round(requests_per_s * SECONDS)
    mean_ms = 1000 * load.concurrency / requests_per_s if requests_per_s else 0.0
    latency = Percentiles(
        n, mean_ms, mean_ms, 1.3 * mean_ms, 1.4 * mean_ms if n >= 130 else None, 1.6 * mean_ms if n >= 662 else None,
        1.8 * mean_ms,
    ) if n else Percentiles()  # fmt: skip
    return Measurement(
        run_id="",
        spec=RunSpec(load, SECONDS, 0.0),
        engine=Engine(requested=live, effective=live, batching=Batching(coalesce=coalesce), cores=2),
        duration_s=SECONDS,
        rates=Rates(requests_per_s, texts_per_s, 0.0, 0.97 * texts_per_s, 1.03 * texts_per_s) if n else None,
        latency=latency,
        throughput_judgement=STEADY,
        p95_judgement=STEADY if n >= 130 else Judgement(False, "too few requests to judge p95", short=True),
        stages=Stages(0.3 * mean_ms, 0.05 * mean_ms, 0.6 * mean_ms, 0.01 * mean_ms) if n else None,
        batches=Batches(min(load.batch * load.concurrency, 32) if coalesce else load.batch, 300.0, 0.08),
        rss_bytes=rss_mib << 20,
        client_cpu_cores=0.1,
        saturated=False,
        errors={},
        retries=0,
        truncated_texts=0,
        interrupted=False,
        engine_cpu_cores=1.8,
    )


def _fallen_back() -> Measurement:
    made = measured(Deployment("openvino", "fp32", "", "cpu", "fake/MiniLM", 2, 1), LoadSpec(32, 4), 880.0)
    notice = Notice("falls_back", "this processor has no bf16 instructions: running openvino fp32 instead")
    asked = replace(made.engine.requested, precision="bf16")
    return replace(made, engine=replace(made.engine, requested=asked, warnings=(notice,)), fidelity=1.0)


def keep(
    store: Store,
    measurement: Measurement,
    number: int,
    sweep_id: str | None = None,
    cell_hash: str | None = None,
    fidelity: Mapping[str, Any] | None = None,
) -> None:
    """With its seconds, whose requests wobble a little."""
    began = f"2026-11-23T10:{number:02}:00Z"
    begin_run(store, replace(start_of(measurement, began), capabilities=MATRIX, sweep_id=sweep_id, cell_hash=cell_hash))
    rate = measurement.rates.requests_per_s if measurement.rates else 0.0
    latency_ms = measurement.latency.p50_ms or 1.0
    rows = [
        interval_row(
            second(place, round(rate * (1.01 if place % 2 else 0.99)), latency_ms, measurement.spec.load.batch),
            None, 0.0, 0.0,
        )
        for place in range(SECONDS)
    ]  # fmt: skip
    add_intervals(store, measurement.run_id, rows, 0)
    report = as_json(measurement)
    if fidelity is not None:
        report["fidelity"] = dict(fidelity)
    finish_run(store, measurement.run_id, f"2026-11-23T10:{number:02}:12Z", report, ())
