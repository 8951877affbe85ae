"""Records every load of Live as a run. Listens to the session; a thread of its own writes the store.

Neither a slow store nor one that cannot be written delays the event loop: what it does not take stays pending, and goes
to a spill file at the end of the run.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from console.measure.live_run import LiveRun, RunBeginning
from console.measure.measurement import new_run_id
from console.measure.run_writer import BUSY_TIMEOUT_WHILE_MEASURING_S, RunWriter
from console.model.engine import EngineState
from console.model.errors import CommandRefused
from console.model.recording import LiveRecording
from console.model.supervise import Supervisor
from console.session.session import Session
from console.store.database import Store, StoreError
from console.store.live import SwitchRecord
from console.store.liveness import utc_now
from console.store.write import check_tag

SETTLING_S = 20.0
"""How long after its load a run takes versions of its switch deltas: the last ones settle within this time."""


class _Recording:
    """A run and its writer. The writer belongs to the store's thread, all else to the event loop's."""

    def __init__(self, run: LiveRun) -> None:
        self.run = run
        self.writer: RunWriter | None = None
        self.name = ""
        self.discarded = False
        self.ended_s: float | None = None
        """In the session's time; None while the load runs."""

    @property
    def is_running(self) -> bool:
        return self.ended_s is None


class LiveRecorder:
    """Implements SessionListener and LivePort. Loads of experiments are left to those."""

    def __init__(
        self,
        session: Session,
        path: Path,
        *,
        spill_folder: Path | None = None,
        now: Callable[[], str] = utc_now,
        make_run_id: Callable[[], str] = new_run_id,
        open_store: Callable[[Path, float], Store] = Store.open,
    ) -> None:
        """`path`: the store's file. `open_store`: takes it and the busy timeout in seconds."""
        self.state = LiveRecording()
        self._session = session
        self._supervisor = Supervisor(lambda level, text: session.note(text, level))
        self._path = path
        self._spill_folder = spill_folder
        self._now = now
        self._make_run_id = make_run_id
        self._open_store = open_store
        self._latest: _Recording | None = None
        """The run of the running load, else the last one."""
        self._settling: list[_Recording] = []
        """Runs that have ended, whose switch deltas may still change."""
        self._executor = ThreadPoolExecutor(1, "live-recorder")
        self._store: Store | None = None
        self._closed = False
        self._summary = ""
        """How the last run ended."""
        self._jobs: set[asyncio.Future[None]] = set()
        session.subscribe(self)

    # ---- SessionListener

    def load_started(self, started_s: float) -> None:
        """Ends the run of the load before, if that was changed, and begins one."""
        self._end("", stopped=False)
        if self._closed or self._session.frame.load.experiment:
            return
        run = LiveRun(self._session, self._make_run_id(), self._now(), started_s)
        self._latest = _Recording(run)
        self._set_state(run_id=run.run_id, running=True, name="", discarded=False, trouble="")

    def load_stopped(self, failure: str) -> None:
        """Ends the run."""
        frame = self._session.frame
        self._end(failure or (frame.load.message if frame.engine.state is EngineState.LOST else ""), stopped=True)

    def interval_ended(self) -> None:
        """Writes the interval; the first one creates the run in the store."""
        one = self._running
        if one is None:
            return
        beginning = None if one.run.began else one.run.beginning()
        row, late, segments = one.run.take_interval(), one.run.late_capabilities(), one.run.segments
        name = one.name if beginning is not None else ""

        def write() -> None:
            if beginning is not None:
                self._begin(one, beginning, name)
            if one.writer is not None:
                one.writer.set_segments(segments)
                one.writer.add_intervals([row], late)

        self._in_store_thread(one, write)

    def conditions_changed(self, time_s: float) -> None:
        """Ends a segment, and begins one unless a switch is in progress."""
        if (one := self._running) is not None:
            one.run.conditions_changed(time_s)

    def cut_over(self, time_s: float) -> None:
        """Sets the beginning of the next segment."""
        if (one := self._running) is not None:
            one.run.cut_over(time_s)

    def switches_changed(self) -> None:
        """Writes the new versions of deltas, and the new markers."""
        now_s = self._session.now_s
        self._settling = [one for one in self._settling if now_s - (one.ended_s or 0.0) < SETTLING_S]
        running = self._running
        for one in (*self._settling, *([running] if running is not None else [])):
            record = one.run.take_switches()
            if record != SwitchRecord():
                self._add_switches(one, record)

    # ---- LivePort

    async def name(self, name: str) -> None:
        """Tags the run with the name, in place of an earlier one. Raises CommandRefused."""
        one = self._recorded()
        tag = "-".join(name.split())
        try:
            check_tag(tag)
        except StoreError as error:
            raise CommandRefused(str(error)) from error
        before, one.name = one.name, tag
        self._set_state(name=tag)

        def write() -> None:
            if one.writer is not None:
                one.writer.replace_tag(before, tag)

        await self._in_store_thread(one, write)

    async def keep(self) -> None:
        """Keeps the run that was to be discarded. Raises CommandRefused if it is deleted already."""
        one = self._recorded()
        one.discarded = False
        self._set_state(discarded=False)

    async def discard(self) -> None:
        """Deletes the run; while it is recorded, it is deleted when its load stops. Raises CommandRefused."""
        one = self._recorded()
        one.discarded = True
        self._set_state(discarded=True)
        if not one.is_running:
            await self._delete(one)

    async def close(self) -> str:
        """Ends the run that is recorded, and returns when all is written. Returns what to tell the user, or nothing."""
        if self._closed:
            return ""
        self._closed = True
        self._summary = ""
        self._end("", stopped=True)
        while self._jobs:
            await asyncio.wait(self._jobs)
        self._settling = []
        self._executor.submit(self._close_store)
        self._executor.shutdown(wait=False)
        return self._summary

    # ---- the event loop's thread

    @property
    def _running(self) -> _Recording | None:
        return self._latest if self._latest is not None and self._latest.is_running else None

    def _recorded(self) -> _Recording:
        """Returns the run that the user means. Raises CommandRefused if there is none."""
        if self._latest is None:
            raise CommandRefused("No load was recorded yet: {load_toggle} starts one")
        if self._latest.discarded and not self._latest.is_running:
            raise CommandRefused(f"{self._latest.run.run_id} was discarded")
        return self._latest

    def _set_state(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]  # fields of LiveRecording

    def _end(self, failure: str, *, stopped: bool) -> None:
        """Ends the run that is recorded. `stopped`: the load has stopped, and was not changed."""
        one = self._running
        if one is None:
            return
        one.ended_s = self._session.now_s
        self._set_state(running=False)
        if not one.run.began:  # nothing was measured
            self._latest = None
            self._set_state(run_id="")
            return
        if one.discarded:
            self._track(self._supervisor.run("discarding a recorded run", self._delete(one)))
            return
        result = one.run.end(self._now(), failure)
        segments = one.run.segments
        self._settling.append(one)

        def write() -> None:
            if one.writer is not None:
                one.writer.set_segments(segments)
                one.writer.finish(result.as_end())

        writing = self._in_store_thread(one, write)
        ended = self._say_how_it_ended(one, writing, stopped)
        self._track(self._supervisor.run("ending a recorded run", ended))

    async def _say_how_it_ended(self, one: _Recording, writing: "asyncio.Future[None]", stopped: bool) -> None:
        run_id = one.run.run_id
        try:
            await writing
        except OSError as error:
            trouble = one.writer.trouble if one.writer is not None else ""
            self._notify(f"{run_id} is lost: {trouble}\nNo spill file either: {error}", trouble=str(error))
            return
        if one.writer is not None and one.writer.spill is not None:
            spill = one.writer.spill
            words = f"{run_id} is not in the store: {one.writer.trouble}\nKept in {spill}"
            self._notify(f"{words}\nembedconsole runs restore {spill}", trouble=one.writer.trouble)
            return
        self._session.note(f"recorded as {run_id}")
        if stopped:
            words = f"Recorded as {run_id}" + (f" #{one.name}" if one.name else "")
            self._notify(f"{words}: {{live_run}} names or discards it")
            self._summary = words

    def _notify(self, notice: str, trouble: str = "") -> None:
        self._summary = notice
        self._set_state(notice=notice, notices=self.state.notices + 1, trouble=trouble)
        if trouble:
            self._session.note(notice.replace("\n", "; "), "error")

    async def _delete(self, one: _Recording) -> None:
        self._settling = [other for other in self._settling if other is not one]

        def delete() -> None:
            if one.writer is not None:
                one.writer.discard()

        try:
            await self._in_store_thread(one, delete)
        except (StoreError, OSError) as error:
            self._notify(f"{one.run.run_id} could not be deleted: {error}", trouble=str(error))
        else:
            self._notify(f"Discarded {one.run.run_id}")

    def _add_switches(self, one: _Recording, record: SwitchRecord) -> None:
        def write() -> None:
            if one.writer is not None:
                one.writer.add_switches(record)

        self._in_store_thread(one, write)

    def _in_store_thread(self, one: _Recording, job: Callable[[], None]) -> "asyncio.Future[None]":
        """Runs the job after those before it. Its trouble is shown; an exception is also raised to who awaits it."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, job)
        self._track(future)

        def done(future: "asyncio.Future[None]") -> None:
            if future.cancelled():
                return
            error = future.exception()
            trouble = str(error) if error is not None else one.writer.trouble if one.writer is not None else ""
            if one is self._latest and trouble != self.state.trouble:
                self._set_state(trouble=trouble)
                if trouble:
                    self._session.note(f"{one.run.run_id} is not stored yet: {trouble}", "warning")

        future.add_done_callback(done)
        return future

    def _track(self, future: "asyncio.Future[None]") -> None:
        self._jobs.add(future)
        future.add_done_callback(self._jobs.discard)

    # ---- the store's thread

    def _begin(self, one: _Recording, beginning: RunBeginning, name: str) -> None:
        one.writer = RunWriter(self._opened, beginning.as_start(), self._spill_folder, self._now)
        if name:
            one.writer.replace_tag("", name)

    def _opened(self) -> Store:
        """Returns the open store; opens it at the first call, and again after it could not be opened."""
        if self._store is None:
            self._store = self._open_store(self._path, BUSY_TIMEOUT_WHILE_MEASURING_S)
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
