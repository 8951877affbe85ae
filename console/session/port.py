"""What a front end asks of a session, of the store and of sweeps: commands in, snapshots out. Tests bring their own."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from console.frame import Deployment, EngineSpec, Frame, LoadSpec, Point

if TYPE_CHECKING:
    from console.experiments.store_read import RunRow, StoredRun
    from console.experiments.sweep_state import SweepState


class CommandRefused(Exception):
    """A command cannot be carried out now; the message says why and what to do instead."""


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


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A row of the store, and its words in lower case for a filter to look through."""

    row: "RunRow"
    words: str


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run whole, as a screen shows it."""

    run: "StoredRun"
    report: Mapping[str, Any]
    """The object of `run --json`; of a run that never ended, what its intervals say. Empty: nothing was measured."""
    points: tuple[Point, ...]
    """Its seconds, counted from the start of the load."""


class RunsPort(Protocol):
    """What has been measured. Every method raises CommandRefused with the reason and the next step."""

    @property
    def place(self) -> str:
        """The store's file, for people."""
        ...

    async def runs(self) -> Sequence[ListedRun]:
        """All of them, newest first."""
        ...

    async def run(self, run_id: str) -> OpenedRun:
        """One run whole, with its intervals."""
        ...

    async def tag(self, run_id: str, add: Sequence[str], remove: Sequence[str]) -> None: ...

    async def note(self, run_id: str, text: str) -> None: ...

    async def delete(self, run_ids: Sequence[str]) -> None:
        """For good, with their intervals, notes and tags."""
        ...

    async def report(self, names: Sequence[str], form: str) -> str:
        """The page of results of these runs, sweeps or tags, as `md`, `html`, `json` or `csv`."""
        ...

    async def gate(self, run_id: str, conditions: Sequence[str]) -> str:
        """The run held against conditions: a line for each, then what they come to."""
        ...


@dataclass(frozen=True, slots=True)
class SweepOffer:
    """What a specification would measure, looked at before anything starts."""

    source: str
    """The preset's name, or the file's path."""
    name: str
    cells: int
    deployments: int
    measured: int
    """Cells that an earlier part of the newest sweep of this name has measured."""
    expected_s: float
    rest_s: float
    """What is left of it where that sweep is resumed."""
    fidelity: bool
    about: str = ""
    """What the specification says of itself."""


class SweepsPort(Protocol):
    """One sweep at a time, on the session's own engine. Commands raise CommandRefused."""

    @property
    def state(self) -> "SweepState | None":
        """The newest snapshot; None before the first sweep."""
        ...

    @property
    def presets(self) -> tuple[str, ...]: ...

    async def offer(self, source: str) -> SweepOffer:
        """Reads a preset or a file, and looks up what is measured already."""
        ...

    async def sweep(self, source: str, *, resume: bool) -> None:
        """Runs it to its end: the front end owns the task. `state` tells how it goes."""
        ...

    def pause(self) -> None:
        """After the running cell."""
        ...

    def go_on(self) -> None: ...

    def skip(self, place: int) -> None:
        """Leaves out a cell that waits."""
        ...

    def finish_cell(self) -> None:
        """Ends the sweep after the running cell."""
        ...

    def stop_now(self) -> None:
        """Ends it at once; what the running cell has measured is kept."""
        ...


class ExperimentsPort(Protocol):
    """What the modes Sweep, Runs and Compare stand on."""

    @property
    def runs(self) -> RunsPort: ...

    @property
    def sweeps(self) -> SweepsPort: ...
