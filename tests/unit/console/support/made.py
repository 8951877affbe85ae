"""Made-up runs for tests of the store and of what stands on it."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from console.analysis.steady_state import Judgement, Rates
from console.measure.measurement import Measurement
from console.measure.result import as_json
from console.measure.spec import RunSpec
from console.model.engine import Batching, CapabilityCell, CellState, Deployment, Engine
from console.model.load import LoadSpec, Percentiles, Stages
from console.session.live_metrics import Batches
from console.store.database import Store
from console.store.rows import interval_row
from console.store.write import RunStart, add_intervals, begin_run, finish_run
from tests.unit.console.support.intervals import second

STEADY = Judgement(True, "the last 3 windows' max/min is 1.01, within 1.10", 1.01)
SHAKY = Judgement(False, "the last 3 windows' max/min is 1.40, beyond 1.10", 1.40)
INT8 = Deployment("onnx", "int8", "dynamic", "cpu", "fake/MiniLM", 2, 1)
CELLS = (
    CapabilityCell("onnx", "fp32", "cpu", CellState.NATIVE, texts_per_s=900.0, fidelity=1.0),
    CapabilityCell("onnx", "int4", "cpu", CellState.UNAVAILABLE, reason="not here", fix="choose int8"),
)

GOOD = Measurement(
    run_id="r-1",
    spec=RunSpec(LoadSpec(32, 4), warm_up_s=1.0),
    engine=Engine(requested=replace(INT8, recipe=""), effective=INT8, batching=Batching()),
    duration_s=10.0,
    rates=Rates(40.0, 1280.0, 0.0, 1250.0, 1310.0),
    latency=Percentiles(400, 99.0, 98.0, 110.0, 120.0, None, 150.0),
    throughput_judgement=STEADY,
    p95_judgement=SHAKY,
    stages=Stages(1, 2, 3, 4),
    batches=Batches(30.0, 400.0, 0.1),
    rss_bytes=1 << 28,
    client_cpu_cores=0.2,
    saturated=False,
    errors={},
    retries=0,
    truncated_texts=0,
    interrupted=False,
    fidelity=0.9931,
)


def start_of(measurement: Measurement, started_at: str = "2026-11-23T10:00:00Z", **more: Any) -> RunStart:
    """The beginning of that run."""
    return RunStart(
        run_id=measurement.run_id,
        started_at=started_at,
        requested=measurement.engine.requested,
        effective=measurement.engine.effective,
        batching=measurement.engine.batching,
        spec=asdict(measurement.spec),
        environment={"hash": "e1", "cpu_model": "Fake CPU", "cores": 2, "model": {"id": "fake/MiniLM"}},
        capabilities=CELLS,
        **more,
    )


def record(store: Store, measurement: Measurement = GOOD, seconds: int = 3, **more: Any) -> None:
    """The whole run, its load started at second 5 of its session."""
    begin_run(store, start_of(measurement, **more))
    rows = [interval_row(second(5 + index), None, 5.0, measurement.spec.warm_up_s) for index in range(seconds)]
    add_intervals(store, measurement.run_id, rows, 0)
    finish_run(store, measurement.run_id, "2026-11-23T10:00:12Z", as_json(measurement), ())


def store_in(folder: Path) -> Store:
    """A new store in that folder."""
    return Store.open(folder / "runs.sqlite")
