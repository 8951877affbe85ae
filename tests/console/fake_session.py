"""A session that plays scenes: it records what it is asked and answers as a test has told it to."""

from dataclasses import replace

from console.frame import Deployment, EngineSpec, EngineState, Frame, LoadSpec
from console.ports import CommandRefused, Detached


class FakeSession:
    """The frame changes when a test sets it, or when a load command changes its settings."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.engine_spec = EngineSpec(backend="onnx", precision="fp32")
        self.calls: list[tuple[object, ...]] = []
        self.refusal = ""
        self.fault: Exception | None = None
        self.closed = False

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

    async def detach(self) -> Detached:
        self._called("detach")
        return Detached("127.0.0.1:50051", 4121, "/var/log/engine.log", "kill 4121")

    async def close(self) -> None:
        self.closed = True
        self.frame = replace(self.frame, engine=replace(self.frame.engine, state=EngineState.STOPPED))
