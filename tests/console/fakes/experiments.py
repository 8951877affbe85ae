"""A store and a sweep that a test plays: real rows from a real store file, a sweep that stands where it is told to."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from console.model.errors import CommandRefused
from console.model.recording import LiveRecording
from console.services.ports import ListedRun, SweepOffer
from console.services.runs import searchable_text
from console.store.opened_run import OpenedRun
from console.store.read import RunRow
from console.sweep.state import SweepState

OFFERS = {
    "quick": SweepOffer("quick", "quick", 8, 2, 0, 66.0, 66.0, False, "About a minute: is int8 worth it here?"),
    "seed": SweepOffer("seed", "seed", 72, 4, 30, 1100.0, 640.0, True, "The classic table: precision by batch."),
    "latency": SweepOffer("latency", "latency", 30, 5, 0, 470.0, 470.0, True, "Who answers one text soonest."),
    "throughput": SweepOffer("throughput", "throughput", 20, 8, 0, 380.0, 380.0, True, "Who gets most texts through."),
}


@dataclass
class FakeRuns:
    """Answers from what a test has put in, and records what it is asked to write."""

    opened: dict[str, OpenedRun] = field(default_factory=dict)
    rows: list[RunRow] = field(default_factory=list)
    refusal: str = ""
    calls: list[tuple[object, ...]] = field(default_factory=list)
    path: str = "/data/runs.sqlite"
    reads: int = 0

    def _refuse(self) -> None:
        if self.refusal:
            raise CommandRefused(self.refusal)

    async def runs(self) -> Sequence[ListedRun]:
        self._refuse()
        self.reads += 1
        return [ListedRun(row, searchable_text(row)) for row in self.rows]

    async def run(self, run_id: str) -> OpenedRun:
        self._refuse()
        if run_id not in self.opened:
            raise CommandRefused(f"no run {run_id!r}: `embedconsole runs` lists them")
        return self.opened[run_id]

    async def tag(self, run_id: str, add: Sequence[str], remove: Sequence[str]) -> None:
        self._refuse()
        self.calls.append(("tag", run_id, tuple(add), tuple(remove)))
        self.rows = [
            row._replace(tag_names=" ".join(sorted({*row.tags, *add} - set(remove)))) if row.run_id == run_id else row
            for row in self.rows
        ]

    async def note(self, run_id: str, text: str) -> None:
        self._refuse()
        self.calls.append(("note", run_id, text))

    async def report(self, names: Sequence[str], form: str) -> str:
        self._refuse()
        self.calls.append(("report", *names, form))
        return f"# results as {form}\n"

    async def gate(self, run_id: str, conditions: Sequence[str]) -> str:
        self._refuse()
        self.calls.append(("gate", run_id, *conditions))
        return "\n".join([f"run {run_id}", *(f"✓ {condition}" for condition in conditions), "gate ok"])

    async def delete(self, run_ids: Sequence[str]) -> None:
        self._refuse()
        self.calls.append(("delete", *run_ids))
        self.rows = [row for row in self.rows if row.run_id not in run_ids]


@dataclass
class FakeSweeps:
    """`sweep` lasts until a test sets `over`."""

    state: SweepState | None = None
    first: SweepState | None = None
    calls: list[tuple[object, ...]] = field(default_factory=list)
    refusal: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    presets: tuple[str, ...] = tuple(OFFERS)

    async def offer(self, source: str) -> SweepOffer:
        if self.refusal and source not in OFFERS:
            raise CommandRefused(self.refusal)
        return OFFERS.get(source) or SweepOffer(source, "mine", 4, 1, 1, 45.0, 34.0, False)

    async def sweep(self, source: str, *, resume: bool) -> None:
        self.calls.append(("sweep", source, resume))
        self.state = self.first or self.state
        await self.over.wait()

    def pause(self) -> None:
        self.calls.append(("pause",))

    def resume(self) -> None:
        self.calls.append(("resume",))

    def skip(self, path: int) -> None:
        self.calls.append(("skip", path))

    def finish_point(self) -> None:
        self.calls.append(("finish_point",))

    def stop_now(self) -> None:
        self.calls.append(("stop_now",))
        self.over.set()


@dataclass
class FakeLive:
    """Records what it is asked to do; a test sets the state."""

    state: LiveRecording = field(default_factory=LiveRecording)
    calls: list[tuple[object, ...]] = field(default_factory=list)

    async def name(self, name: str) -> None:
        self.calls.append(("name", name))
        self.state = replace(self.state, name=name)

    async def keep(self) -> None:
        self.calls.append(("keep",))
        self.state = replace(self.state, discarded=False)

    async def discard(self) -> None:
        self.calls.append(("discard",))
        self.state = replace(self.state, discarded=True)

    async def close(self) -> str:
        self.calls.append(("close",))
        return f"Recorded as {self.state.run_id}" if self.state.running else ""


@dataclass
class FakeExperiments:
    """Implements ExperimentsPort."""

    runs: FakeRuns = field(default_factory=FakeRuns)
    sweeps: FakeSweeps = field(default_factory=FakeSweeps)
    live: FakeLive = field(default_factory=FakeLive)
