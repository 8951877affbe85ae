"""What a front end asks of a session, of the store and of sweeps: commands in, snapshots out. Tests bring their own."""

import sys
from dataclasses import dataclass, field
from typing import Any, Protocol

from console.model.engine import Deployment, EngineSpec
from console.model.frame import Frame
from console.model.load import LoadSpec


@dataclass(frozen=True, slots=True)
class Detached:
    """An engine left running."""

    address: str
    pid: int
    log_path: str
    stop_command: str


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a session is opened with."""

    engine: EngineSpec = field(default_factory=EngineSpec)
    connect: str = ""
    """host:port of an engine that runs already; empty: the session starts its own."""
    start: bool = False
    """Start the engine as soon as the session opens."""
    load: LoadSpec = field(default_factory=LoadSpec)
    """What the first load sends, unless told otherwise."""
    engine_command: tuple[str, ...] = (sys.executable, "-m", "engine.cli", "serve")
    silence_s: float = 10.0
    """An engine that has said nothing for so long counts as lost."""
    stop_patience_s: float = 8.0
    """How long an engine may drain before it is ended by force."""


class SessionPort(Protocol):
    """Every command returns when it has been accepted (or refused); what comes of it is seen in the frames.

    All of them raise CommandRefused with the reason and the next step.
    """

    @property
    def frame(self) -> Frame:
        """The newest snapshot: cheap, never blocks."""
        ...

    @property
    def engine_spec(self) -> EngineSpec:
        """How the engine was, or will be, started."""
        ...

    async def start_engine(self) -> None: ...

    async def stop_engine(self) -> None: ...

    async def restart_engine(self) -> None: ...

    async def switch(self, target: Deployment, *, strict: bool = False) -> None:
        """Asks for a live switch; empty fields of `target` keep what is live."""
        ...

    async def cancel_switch(self) -> None:
        """Before the cut-over: drops the switch; the old deployment serves on."""
        ...

    async def start_load(self, spec: LoadSpec) -> None: ...

    async def change_load(self, spec: LoadSpec) -> None:
        """Changes batch, concurrency, workload or corpus while it runs (or for the next start)."""
        ...

    async def stop_load(self) -> None: ...

    async def set_coalescing(self, on: bool) -> None: ...

    async def configure(self, **knobs: Any) -> None:
        """Sets the named fields of Batching at once, and for the next start; 0 gives a bound back to the plan."""
        ...

    def note(self, text: str, level: str = "event") -> None:
        """A line of the console's own in the log. `level`: as in LogLine."""
        ...

    def mark(self, label: str, time_s: float) -> None:
        """A marker on the charts at that moment, and a line in the log. The label may be empty."""
        ...

    async def detach(self) -> Detached:
        """Leaves the engine running after the console has gone. The load stops."""
        ...

    async def close(self) -> None:
        """Stops what this session started, unless detached."""
        ...
