"""Moments of a session, made up but consistent: what tests, snapshots and the cost benchmark look at."""

import math
from dataclasses import replace

from console.model.engine import (
    Batching,
    CapabilityCell,
    CellState,
    Deployment,
    Engine,
    EngineState,
    ModelCard,
    Notice,
    Phase,
)
from console.model.frame import Frame, LogLine
from console.model.load import Load, LoadSpec, Percentiles, Point, Stages, Window
from console.model.switch import Change, Marker, SwitchDelta

TORCH = Deployment("torch", "fp32", "", "cpu", "sentence-transformers/all-MiniLM-L6-v2", 2, 1)
ONNX = replace(TORCH, backend="onnx")
MODEL = ModelCard("sentence-transformers/all-MiniLM-L6-v2", 384, 256, "mean", True)
NOT_BUILT = Notice(
    "not_built",
    "onnx int8 is not built in this version: fell back to onnx fp32",
    "ask for fp32, or wait for the release that builds int8",
)
BASE = Engine(
    state=EngineState.RUNNING,
    address="127.0.0.1:50051",
    pid=4121,
    uptime_s=1267.0,
    requested=ONNX,
    effective=ONNX,
    evidence="74 of 74 weight tensors float32 in the optimised graph",
    epoch=3,
    model=MODEL,
    batching=Batching(16384, 64, 0.0, True),
    cores=2,
    cpu_model="AMD EPYC 7B13",
    rss_bytes=418_000_000,
    cpu_cores=1.64,
    queued_items=38,
    queued_tokens=412,
    in_flight_requests=4,
    oldest_in_flight_s=0.031,
)


def matrix() -> tuple[CapabilityCell, ...]:
    """Two backends that are built in fp32, and what is said of the rest."""
    cells = []
    for backend in ("torch", "onnx", "openvino"):
        for precision in ("fp32", "bf16", "fp16", "int8", "int4"):
            state, reason, fix = CellState.FALLS_BACK, f"{backend} {precision} is not built in this version", "use fp32"
            effective = Deployment(backend, "fp32", "", "cpu")
            if backend == "openvino":
                state, reason, fix = CellState.UNAVAILABLE, "openvino is not installed", "pip install openvino"
                effective = Deployment()
            elif precision == "fp32":
                state, reason, fix, effective = CellState.NATIVE, "", "", effective
            elif precision == "fp16" and backend == "torch":
                state, reason, fix = CellState.SLOW, "fp16 on this CPU is about four times slower than fp32", "use fp32"
            cells.append(CapabilityCell(backend, precision, "cpu", state, "", effective, reason, fix))
    return tuple(cells)


def points(count: int = 180, switch_at: int = 120, gap: range = range(64, 70)) -> tuple[Point, ...]:
    """A level before the switch and a higher one after it, with a gap of a few seconds."""
    made = []
    for second in range(1, count + 1):
        if second in gap:
            made.append(Point(float(second)))
            continue
        wave = math.sin(second / 5.0) * 0.04 + math.sin(second * 1.7) * 0.02
        dip = 0.85 if switch_at <= second < switch_at + 2 else 1.0
        level = 1.0 if second < switch_at else 1.55
        texts = 830.0 * level * (1 + wave) * dip
        p50 = 128_000 / texts / 8
        made.append(
            Point(
                *(float(second), texts, texts / 32, p50, p50 * (1.55 + wave), p50 * (2.1 + 2 * wave)),
                n=int(texts / 32) * 30,
                epoch=2 if second < switch_at else 3,
                queued_items=int(40 + 22 * math.sin(second / 7)),
                mean_batch_items=29.0 + 3 * math.sin(second / 3),
                in_flight_requests=4,
            )
        )
    return tuple(made)


LOG = (
    LogLine(1, "12:00:00", "console", "event", "console opened"),
    LogLine(2, "12:00:01", "engine", "info", "loading artifact fp32 for torch"),
    LogLine(3, "12:00:04", "engine", "event", "ready at 127.0.0.1:50051 in 3.9 s"),
    LogLine(4, "12:00:05", "driver", "event", "load on: closed loop, batch 32, concurrency 4, corpus short"),
    LogLine(5, "12:01:04", "driver", "warning", "no answer for 5.0 s: the engine was paused"),
    LogLine(6, "12:02:00", "engine", "event", "S1 torch·fp32 → onnx·fp32 in 1.21 s, 0 requests failed"),
    LogLine(7, "12:02:41", "engine", "debug", "trimmed 12 MB of arenas"),
)

DELTA = SwitchDelta(
    1,
    "torch·fp32 → onnx·fp32",
    120.0,
    1.21,
    settled=True,
    texts_per_s=Change(832.0, 1290.0, 0.55, 0.021),
    p50_ms=Change(19.3, 12.4, -0.357, 0.018),
    p95_ms=Change(30.1, 19.8, -0.342, 0.04),
    p99_ms=Change(40.2, 26.1, -0.35, 0.06),
    rss_bytes=Change(612e6, 418e6, -0.317, None),
    verdict="faster",
)


def stopped() -> Frame:
    """Nothing runs."""
    return Frame(capabilities=(), log=LOG[:1], log_version=1)


def starting() -> Frame:
    """The engine exports its model."""
    phase = Phase("export", "writing the ONNX graph", 3, 9, 12.34)
    engine = Engine(
        EngineState.STARTING, pid=4121, phase=phase, requested=ONNX, model=MODEL, cores=2, cpu_model=BASE.cpu_model
    )
    return Frame(now_s=13.0, engine=engine, log=LOG[:2], log_version=2)


def idle() -> Frame:
    """The engine serves, nothing is sent."""
    engine = replace(
        BASE, queued_items=0, queued_tokens=0, in_flight_requests=0, oldest_in_flight_s=0.0, cpu_cores=0.01
    )
    return Frame(now_s=20.0, engine=engine, capabilities=matrix(), log=LOG[:3], log_version=3)


def busy() -> Frame:
    """Load is on and a switch has settled."""
    series = points()
    load = Load(
        running=True,
        spec=LoadSpec(batch=32, concurrency=4),
        elapsed_s=252.0,
        requests=7_214,
        texts=230_848,
        in_flight=4,
        cpu_cores=0.21,
    )
    window = Window(
        texts_per_s=1_287.4,
        requests_per_s=40.2,
        trend=0.03,
        best_texts_per_s=1_322.0,
        latency=Percentiles(1_206, 12.9, 12.4, 17.2, 19.8, 26.1, 41.3),
        stages=Stages(1.9, 0.7, 8.9, 0.2),
        client_server_gap_ms=0.6,
        mean_batch_items=29.4,
        mean_batch_tokens=381.0,
        padding_ratio=0.07,
    )
    return Frame(
        *(180.0, BASE, load, window, series),
        points_version=180,
        markers=(Marker(120.0, 1, "torch·fp32 → onnx·fp32"),),
        deltas=(DELTA,),
        capabilities=matrix(),
        log=LOG,
        log_version=7,
        console_cpu=0.03,
    )


def few() -> Frame:
    """Too few requests to certify p95 or p99."""
    frame = busy()
    latency = replace(frame.window.latency, n=61)
    thin = tuple(replace(point, n=61) if point.texts_per_s else point for point in frame.points)
    return replace(frame, window=replace(frame.window, latency=latency), points=thin)


def fallback() -> Frame:
    """int8 was asked for, fp32 runs."""
    frame = busy()
    engine = replace(frame.engine, requested=replace(ONNX, precision="int8"), warnings=(NOT_BUILT,))
    marker = Marker(165.0, 2, "onnx·fp32 → int8 (eff fp32)", True)
    delta = replace(DELTA, ordinal=2, label="onnx·fp32 → int8 (eff fp32)", settled=False, settling_left_s=3.0)
    warned = (*LOG, LogLine(8, "12:02:45", "engine", "warning", NOT_BUILT.message))
    return replace(
        frame,
        engine=engine,
        markers=(*frame.markers, marker),
        deltas=(*frame.deltas, delta),
        log=warned,
        log_version=8,
    )


def switching() -> Frame:
    """torch is being loaded beside onnx."""
    frame = busy()
    phase = Phase("loading", "torch fp32, 2 instances", 0, 0, 0.84)
    return replace(frame, engine=replace(frame.engine, state=EngineState.SWITCHING, phase=phase, requested=TORCH))


def lost() -> Frame:
    """The engine was killed."""
    frame = busy()
    message = "The engine ended by signal 9 (SIGKILL) without being asked. r restarts it as it was."
    gone = tuple(Point(180.0 + second) for second in range(1, 8))
    entry = LogLine(8, "12:03:07", "console", "error", "engine 4121 ended by signal 9 (SIGKILL)")
    return replace(
        frame,
        now_s=187.0,
        engine=replace(frame.engine, state=EngineState.LOST, message=message, cpu_cores=0.0, in_flight_requests=0),
        load=replace(frame.load, errors={"UNAVAILABLE": 4}),
        points=(*frame.points, *gone),
        points_version=187,
        log=(*LOG, entry),
        log_version=8,
    )


def nobody() -> Frame:
    """No engine has answered at the address of --connect."""
    message = (
        "nothing listens at 127.0.0.1:1 (connection refused): start an engine there (engine serve --port 1), or leave"
        " out --connect"
    )
    engine = Engine(EngineState.LOST, "127.0.0.1:1", remote=True, never_answered=True, message=message)
    return Frame(now_s=3.0, engine=engine)


def hung() -> Frame:
    """The engine has stopped answering."""
    frame = busy()
    return replace(frame, engine=replace(frame.engine, last_frame_age_s=7.2, oldest_in_flight_s=12.3))
