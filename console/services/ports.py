"""Protocols of the store and of sweeps that screens and handlers depend on. Tests pass their own implementations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from console.model.recording import LiveRecording

if TYPE_CHECKING:
    from console.store.read import RunRow
    from console.sweep.state import SweepState
from console.store.opened_run import OpenedRun


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A stored run, and its searchable text in lower case."""

    row: "RunRow"
    words: str


class RunsPort(Protocol):
    """The stored runs. Every method raises CommandRefused with the reason and the next step."""

    @property
    def path(self) -> str:
        """The path of the store's file, for display."""
        ...

    async def runs(self) -> Sequence[ListedRun]:
        """Returns all runs, newest first."""
        ...

    async def run(self, run_id: str) -> OpenedRun:
        """Returns a complete run with its intervals."""
        ...

    async def tag(self, run_id: str, add: Sequence[str], remove: Sequence[str]) -> None:
        """Adds and removes tags of a run."""
        ...

    async def note(self, run_id: str, text: str) -> None:
        """Adds a note to a run."""
        ...

    async def delete(self, run_ids: Sequence[str]) -> None:
        """Deletes runs permanently, with their intervals, notes and tags."""
        ...

    async def report(self, names: Sequence[str], form: str) -> str:
        """Returns the report on these runs, sweeps or tags as `md`, `html`, `json` or `csv`."""
        ...

    async def gate(self, run_id: str, conditions: Sequence[str]) -> str:
        """Checks a run against conditions; returns a line for each and a line with the result."""
        ...


@dataclass(frozen=True, slots=True)
class SweepOffer:
    """A preview of a sweep: what a specification would measure."""

    source: str
    """The preset's name, or the file's path."""
    name: str
    points: int
    deployments: int
    measured: int
    """Points that the newest sweep of this name has measured already."""
    expected_s: float
    rest_s: float
    """Expected duration if that sweep is resumed."""
    fidelity: bool
    about: str = ""
    """The first comment of the specification."""


class SweepsPort(Protocol):
    """One sweep at a time, on the session's own engine. Commands raise CommandRefused."""

    @property
    def state(self) -> "SweepState | None":
        """The newest snapshot; None before the first sweep."""
        ...

    @property
    def presets(self) -> tuple[str, ...]:
        """The names of the presets."""
        ...

    async def offer(self, source: str) -> SweepOffer:
        """Reads a preset or a file, and counts what is measured already."""
        ...

    async def sweep(self, source: str, *, resume: bool) -> None:
        """Runs a sweep to its end. The front end owns the task; `state` shows the progress."""
        ...

    def pause(self) -> None:
        """Pauses after the running point."""
        ...

    def resume(self) -> None:
        """Continues a paused sweep."""
        ...

    def skip(self, index: int) -> None:
        """Skips a waiting point."""
        ...

    def finish_point(self) -> None:
        """Ends the sweep after the running point."""
        ...

    def stop_now(self) -> None:
        """Ends the sweep now; what the running point has measured is kept."""
        ...


class LivePort(Protocol):
    """The recording of the loads of Live as runs. Commands raise CommandRefused."""

    @property
    def state(self) -> LiveRecording:
        """The newest snapshot."""
        ...

    async def name(self, name: str) -> None:
        """Tags the current or last run with a name, in place of an earlier one."""
        ...

    async def keep(self) -> None:
        """Keeps a run that was to be discarded."""
        ...

    async def discard(self) -> None:
        """Deletes the last run; one that is being recorded is deleted when its load stops."""
        ...

    async def close(self) -> str:
        """Ends the run that is recorded; returns when it is written, with what to tell the user."""
        ...


class ExperimentsPort(Protocol):
    """The services of the modes Sweep, Runs and Compare, and the recording of Live."""

    @property
    def runs(self) -> RunsPort:
        """The stored runs."""
        ...

    @property
    def sweeps(self) -> SweepsPort:
        """The sweeps on the session's engine."""
        ...

    @property
    def live(self) -> LivePort:
        """The recording of the session's loads."""
        ...
