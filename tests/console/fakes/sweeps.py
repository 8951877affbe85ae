"""Sweeps at moments that matter: beginning, half-way with everything that can happen to a cell, ended."""

from dataclasses import replace

from console.sweep.point import SweepPoint, in_order
from console.sweep.spec import preset
from console.sweep.state import PointFigures, PointState, PointStatus, SweepState
from tests.console.fakes import recorded

LEVEL = {"torch": 0.55, "onnx": 1.0, "openvino": 1.1}
FACTOR = {"fp32": 1.0, "int8": 1.28, "fp16": 0.3, "bf16": 0.4}
COSINE = {"fp32": 1.0, "int8": 0.9912, "fp16": 0.99998, "bf16": 0.9999}


def figures_of(cell: SweepPoint, place: int, verdict: str = "ok") -> PointFigures:
    """What such a cell gives: more with larger batches and more callers, up to the machine's limit."""
    load, target = cell.run.load, cell.target
    callers = min(load.concurrency, 4) / 4
    coalesced = 0.5 if cell.coalesce is False else 1.0
    level = LEVEL[target.backend] * FACTOR[target.precision] * coalesced
    texts = 640 * level * (0.25 + 0.75 * load.batch / (load.batch + 5)) * (0.55 + 0.45 * callers)
    p50_ms = load.batch * load.concurrency / texts * 1000
    n = round(texts / load.batch * 6)
    runs = replace(target, recipe="dynamic" if target.precision == "int8" else "", device="cpu", instances=2, threads=1)
    return PointFigures(
        run_id=recorded.recorded()[0][place % 11].run_id,
        verdict=verdict,
        interrupted=False,
        effective=runs,
        texts_per_s=texts,
        texts_per_s_low=texts * 0.97,
        texts_per_s_high=texts * 1.03,
        throughput_stable=verdict == "ok",
        latency_n=n,
        p50_ms=p50_ms,
        p95_ms=p50_ms * 1.6 if n >= 130 else None,
        p99_ms=p50_ms * 2.1 if n >= 662 else None,
        p95_stable=True,
        fidelity=COSINE[target.precision],
        errors=0,
        slo_missed=False,
        rss_bytes=int(5e8),
    )


def _cell(cell: SweepPoint, place: int, over: int) -> PointState:
    if place > over:
        return PointState(cell, PointStatus.SKIPPED if place == over + 3 else PointStatus.WAITING)
    if place == over:
        return PointState(cell, PointStatus.RUNNING)
    if place == 5:
        return PointState(
            cell, PointStatus.FAILED, message="the engine was lost (killed by SIGKILL): it is started again"
        )
    verdict = {9: "unstable", 14: "client_bound"}.get(place, "ok")
    figures = figures_of(cell, place, verdict)
    fell_back = "fp16 is not executed by this CPU: fell back to fp32" if cell.target.precision == "fp16" else ""
    return PointState(cell, PointStatus.DONE, figures, resumed=place < 4, fell_back=fell_back)


def running(over: int = 30, name: str = "seed") -> SweepState:
    """`over` cells are over, the next one is being measured."""
    spec = preset(name)
    cells = tuple(_cell(cell, place, over) for place, cell in enumerate(in_order(spec.points, spec.seed)))
    return SweepState("s-1", spec.name, cells, doing="measuring, 431 texts/s", left_s=402.0)


def ended(name: str = "seed") -> SweepState:
    """All of them are over."""
    state = running(10_000, name)
    return replace(state, doing="", left_s=0.0, ended=True)
