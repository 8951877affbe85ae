"""A session that plays scenes: it records what it is asked and answers as a test has told it to."""

import time
from dataclasses import replace
from typing import Any

from console.model.engine import Deployment, EngineSpec, EngineState
from console.model.errors import CommandRefused
from console.model.frame import Frame, LogLine
from console.model.load import LoadSpec
from console.model.switch import Marker
from console.session.port import Detached
from tests.console.fakes import scenes


class FakeSession:
    """The frame changes when a test sets it, or when a load command changes its settings."""

    def __init__(self, frame: Frame) -> None:
        self._newest = frame
        self.engine_spec = EngineSpec(backend="onnx", precision="fp32")
        self.calls: list[tuple[object, ...]] = []
        self.refusal = ""
        self.fault: Exception | None = None
        self.closed = False

    @property
    def frame(self) -> Frame:
        return self._newest

    @frame.setter
    def frame(self, frame: Frame) -> None:
        self._newest = frame

    def _called(self, *call: object) -> None:
        self.calls.append(call)
        if self.refusal:
            raise CommandRefused(self.refusal)
        if self.fault is not None:
            raise self.fault

    async def start_engine(self) -> None:
        self._called("start_engine")

    async def stop_engine(self) -> None:
        self._called("stop_engine")

    async def restart_engine(self) -> None:
        self._called("restart_engine")

    async def switch(self, target: Deployment, *, strict: bool = False) -> None:
        self._called("switch", target.backend, target.precision, strict)

    async def cancel_switch(self) -> None:
        self._called("cancel_switch")

    async def start_load(self, spec: LoadSpec) -> None:
        self._called("start_load", spec)
        self.frame = replace(self.frame, load=replace(self.frame.load, running=True, spec=spec))

    async def change_load(self, spec: LoadSpec) -> None:
        self._called("change_load", spec)
        self.frame = replace(self.frame, load=replace(self.frame.load, spec=spec))

    async def stop_load(self) -> None:
        self._called("stop_load")
        self.frame = replace(self.frame, load=replace(self.frame.load, running=False))

    async def set_coalescing(self, on: bool) -> None:
        self._called("set_coalescing", on)
        batching = replace(self.frame.engine.batching, coalesce=on)
        self.frame = replace(self.frame, engine=replace(self.frame.engine, batching=batching))

    async def configure(self, **knobs: Any) -> None:
        self._called("configure", knobs)

    def note(self, text: str, level: str = "event") -> None:
        self.calls.append(("note", text))
        entry = LogLine(len(self.frame.log) + 1, "12:00:00", "console", level, text)
        self.frame = replace(self.frame, log=(*self.frame.log, entry), log_version=self.frame.log_version + 1)

    def mark(self, label: str, time_s: float) -> None:
        self._called("mark", label, time_s)
        marker = Marker(time_s, 1 + sum(one.by_hand for one in self.frame.markers), label, by_hand=True)
        self.frame = replace(self.frame, markers=(*self.frame.markers, marker))

    async def detach(self) -> Detached:
        self._called("detach")
        return Detached("127.0.0.1:50051", 4121, "/var/log/engine.log", "kill 4121")

    async def close(self) -> None:
        self.closed = True
        self.frame = replace(self.frame, engine=replace(self.frame.engine, state=EngineState.STOPPED))


class MovingSession(FakeSession):
    """Ten different frames a second and a new interval each second, as under load; for the cost benchmark."""

    def __init__(self) -> None:
        super().__init__(scenes.fallback())
        self._points = scenes.points(count=700, switch_at=200)
        self._tenth = 0

    @property
    def frame(self) -> Frame:
        """The frame of this tenth of a second."""
        tenth = int(time.monotonic() * 10)
        if tenth != self._tenth:
            self._tenth = tenth
            self._newest = self._moved(self._newest, tenth)
        return self._newest

    @frame.setter
    def frame(self, frame: Frame) -> None:
        self._newest = frame

    def _moved(self, frame: Frame, tenth: int) -> Frame:
        second = tenth // 10
        wobble = 1 + ((tenth * 7919) % 100 - 50) / 1000
        points = self._points[second % 60 : second % 60 + 600]
        last_s = points[-1].time_s
        latency = replace(
            frame.window.latency, n=1200 + tenth % 40, p50_ms=12 * wobble, p95_ms=20 * wobble, p99_ms=26 * wobble
        )
        return replace(
            frame,
            now_s=last_s,
            engine=replace(frame.engine, uptime_s=second, queued_items=tenth % 60, cpu_cores=wobble * 1.6),
            load=replace(frame.load, elapsed_s=second, requests=tenth * 4, texts=tenth * 128),
            window=replace(frame.window, texts_per_s=1287 * wobble, trend=wobble - 1, latency=latency),
            points=points,
            points_version=second,
            markers=tuple(replace(marker, time_s=last_s - 30 * marker.ordinal) for marker in frame.markers),
        )
