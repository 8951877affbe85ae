"""The protocol between a front end and a session: commands in, snapshots out. Tests have their own implementation."""

import sys
from dataclasses import dataclass, field
from typing import Any, Protocol

from console.model.engine import Deployment, EngineSpec
from console.model.frame import Frame
from console.model.load import LoadSpec


@dataclass(frozen=True, slots=True)
class Detached:
    """An engine that continues to run after the session."""

    address: str
    pid: int
    log_path: str
    stop_command: str


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Options of a session."""

    engine: EngineSpec = field(default_factory=EngineSpec)
    connect: str = ""
    """host:port of a running engine; empty: the session starts its own."""
    start: bool = False
    """Whether to start the engine when the session opens."""
    load: LoadSpec = field(default_factory=LoadSpec)
    """The default load."""
    engine_command: tuple[str, ...] = (sys.executable, "-m", "engine.cli", "serve")
    silence_s: float = 10.0
    """An engine counts as lost after this time without a message."""
    stop_timeout_s: float = 8.0
    """How long an engine may drain before it is killed."""


class SessionPort(Protocol):
    """A session, as a front end sees it.

    Every command returns when it has been accepted; its effect appears in the frames. All commands raise CommandRefused
    with the reason and the next step.
    """

    @property
    def frame(self) -> Frame:
        """The current snapshot. Cheap; never blocks."""
        ...

    @property
    def engine_spec(self) -> EngineSpec:
        """The options that the engine was, or will be, started with."""
        ...

    async def start_engine(self) -> None: ...

    async def stop_engine(self) -> None: ...

    async def restart_engine(self) -> None: ...

    async def switch(self, target: Deployment, *, strict: bool = False) -> None:
        """Requests a switch. Empty fields of `target` keep the live values."""
        ...

    async def cancel_switch(self) -> None:
        """Cancels the switch before its cut-over; the old deployment continues to serve."""
        ...

    async def start_load(self, spec: LoadSpec) -> None: ...

    async def change_load(self, spec: LoadSpec) -> None:
        """Changes the running load, or the default load if none runs."""
        ...

    async def stop_load(self) -> None: ...

    async def set_coalescing(self, on: bool) -> None: ...

    async def configure(self, **knobs: Any) -> None:
        """Sets the named fields of Batching now and for the next start; 0 restores the plan's value of a bound."""
        ...

    def note(self, text: str, level: str = "event") -> None:
        """Adds a line of the console to the log. `level`: as in LogLine."""
        ...

    def mark(self, label: str, time_s: float) -> None:
        """Adds a marker on the charts at `time_s`, and a line in the log. The label may be empty."""
        ...

    async def detach(self) -> Detached:
        """Stops the load and detaches the engine, which continues to run after the console exits."""
        ...

    async def close(self) -> None:
        """Stops the processes that this session started, except a detached engine."""
        ...
