"""The protocols of the store and of sweeps that screens and handlers depend on. Tests bring their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from console.store.read import RunRow
    from console.sweep.state import SweepState
from console.store.opened_run import OpenedRun


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A row of the store, and its words in lower case for a filter to look through."""

    row: "RunRow"
    words: str


class RunsPort(Protocol):
    """What has been measured. Every method raises CommandRefused with the reason and the next step."""

    @property
    def path(self) -> str:
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

    def skip(self, path: int) -> None:
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
