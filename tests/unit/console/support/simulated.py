"""A session without processes: a test sends it what an engine and a load generator would, on a clock of its own."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from console.load.protocol import Changed, Interval, Started, Stopped, Tick
from console.model.engine import CapabilityCell, CellState, Deployment, Engine, EngineState, Phase
from console.model.load import LoadSpec
from console.session.live_metrics import EngineSample
from console.session.port import SessionOptions
from console.session.session import Session
from console.session.switch import CompletedSwitch
from tests.unit.console.support.intervals import answers

if TYPE_CHECKING:
    from console.model.frame import Frame

FP32 = Deployment("onnx", "fp32", "", "cpu", "fake/MiniLM", 2, 1)
INT8 = replace(FP32, precision="int8", recipe="dynamic")
_ARRIVES_AFTER_S = 0.004
"""Between the end of an interval and its arrival at the session."""


class SimulatedSession:
    """Owns the clock. `frames`: the session's frame after each tick, interval and sample."""

    def __init__(self) -> None:
        self.clock_s = 1000.0
        self.session = Session(SessionOptions(), clock=lambda: self.clock_s)
        self.frames: list[Frame] = []
        self._engine = self.session._engine
        self._engine.engine = Engine(
            EngineState.RUNNING, requested=FP32, effective=FP32, epoch=1, cores=2, cpu_model="Fake CPU"
        )
        self._engine.capabilities = (
            CapabilityCell("onnx", "fp32", "cpu", CellState.NATIVE, fidelity=1.0),
            CapabilityCell("onnx", "int8", "cpu", CellState.NATIVE, "dynamic", fidelity=0.99),
        )
        self._load_since_s = 0.0
        self._cut_s = 0.0
        self._requests = self._batches = self._index = 0
        self._spec = LoadSpec()

    @property
    def now_s(self) -> float:
        return self.session.now_s

    def start_load(self, spec: LoadSpec | None = None, *, experiment: bool = False) -> None:
        """The load generator's answer to a start."""
        self._spec = spec or LoadSpec(8, 4)
        self._load_since_s = self._cut_s = self.clock_s
        self._requests = self._index = 0
        self.session._load._experiment = experiment
        self._send(Started(self.clock_s, "short", 100, self._spec))

    def change_load(self, spec: LoadSpec) -> None:
        """The load generator's answer to a change."""
        self._spec = spec
        self._send(Changed(self.clock_s, 100, spec))
        self.session._conditions_changed(self.now_s)

    def stop_load(self) -> None:
        """The load generator's answer to a stop, without a request in flight."""
        if self.clock_s > self._cut_s + 0.001:
            self._send(self._interval(10, 10.0))
        self._send(Stopped(self.clock_s, self._requests, self._requests * self._spec.batch, {}))
        self.session._conditions_changed(self.now_s)

    def exit_driver(self, code: int = 1) -> None:
        """The load generator's process ends."""
        self.session._load._on_exit(code)

    def run(self, seconds: int, requests_per_s: int = 100, latency_ms: float = 10.0) -> None:
        """So many seconds of load: ten ticks, a sample of the engine and an interval in each."""
        for _ in range(seconds):
            begin_s = self.clock_s
            wobble = 1 + 0.05 * ((self._index * 7919) % 11 - 5) / 5
            for tenth in range(1, 11):
                self.clock_s = begin_s + tenth / 10
                self._requests += round(requests_per_s * wobble) // 10
                self._tick()
                if tenth == 4:
                    self.clock_s += 0.03
                    self._sample(round(requests_per_s * wobble))
            self._send(self._interval(round(requests_per_s * wobble), latency_ms * wobble))

    def begin_switch(self) -> None:
        """The engine accepts a switch, which is in progress from now on."""
        self._requested_s = self.now_s
        self._engine.set_switch_phase(Phase("loading"), Deployment())
        self.session._conditions_changed(self.now_s)

    def complete_switch(self, to: Deployment = INT8) -> None:
        """The switch has cut over to the deployment and released the old one."""
        before = self._engine.engine
        self.clock_s += 0.005
        self.session._on_switch_completed(
            CompletedSwitch(
                f"{before.effective.cell} → {to.cell}", False, before.effective, to, to, self._requested_s, self.now_s,
                self.now_s,
            )
        )  # fmt: skip
        self._set_engine(state=EngineState.RUNNING, requested=to, effective=to, epoch=before.epoch + 1, phase=None)

    def cancel_switch(self) -> None:
        """The switch ends without a change."""
        self._set_engine(state=EngineState.RUNNING, phase=None)

    def configure(self, **knobs: Any) -> None:
        """The engine has applied the knobs."""
        self._set_engine(batching=replace(self._engine.engine.batching, **knobs))
        self.session._conditions_changed(self.now_s)

    def lose_engine(self) -> None:
        """The engine's process is gone; the load is stopped with that reason."""
        self._set_engine(state=EngineState.LOST, message="the engine was lost (killed by SIGKILL): restart it")
        self.session._load.load = replace(self.session._load.load, message="stopped: the engine no longer serves")
        self.stop_load()

    def _set_engine(self, **changes: Any) -> None:
        self._engine.engine = replace(self._engine.engine, **changes)

    def _send(self, event: Any) -> None:
        self.session._load._on_event(event)
        self.frames.append(self.session.frame)

    def _tick(self) -> None:
        self._send(Tick(self.clock_s, self._requests, self._requests * self._spec.batch, 0, 0, 4))

    def _sample(self, requests: int) -> None:
        self._batches += requests // 2
        items = self._batches * 2 * self._spec.batch
        self.session._metrics.sample(
            EngineSample(
                self.now_s, 300_000_000 + self._batches, 3, 4, self.now_s * 1.5, self._batches, items, items * 13,
                items * 14,
            )
        )  # fmt: skip
        self.frames.append(self.session.frame)

    def _interval(self, requests: int, latency_ms: float) -> Interval:
        engine = self._engine.engine
        made = answers([latency_ms * (0.8 + 0.01 * (n % 40)) for n in range(requests)], self._spec.batch)
        begin_s, end_s = self._cut_s, self.clock_s
        self._cut_s = end_s
        self._index += 1
        self.clock_s = end_s + _ARRIVES_AFTER_S
        return Interval(
            index=self._index - 1,
            start_s=begin_s,
            duration_s=end_s - begin_s,
            answers=made,
            in_flight=4,
            cpu_cores=0.1,
            mean_in_flight=4.0,
            first_completion_s=begin_s + 1 / max(requests, 1),
            last_completion_s=end_s,
            stages_ms={"queue": 1.0, "tokenize": 1.0, "infer": 5.0, "serialize": 1.0},
            epochs={str(engine.epoch): made},
        )
