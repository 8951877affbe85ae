"""The driver of a load on one engine, in a closed or an open loop, which can be changed while it runs."""

import asyncio
import time
from collections.abc import Callable

import grpc

from console.load.attempts import Plan, make_plan
from console.load.calls import CHANNEL_OPTIONS
from console.load.closed_loop import ClosedLoop
from console.load.corpora import MAX_TEXT_BYTES
from console.load.open_loop import OpenLoop
from console.load.protocol import Changed, Event, Started, Stopped
from console.load.recorder import Recorder
from console.model.load import LoadSpec
from console.model.supervise import Supervisor, to_stderr
from engine.api import channel_options

TICK_S = 0.1
TICKS_PER_INTERVAL = 10
STOP_TIMEOUT_S = 5.0


class Driver:
    """One load from `start` to `stop`. `emit` is called with every event. Faults are written to standard error."""

    def __init__(
        self,
        target: str,
        plan: Plan,
        emit: Callable[[Event], None],
        max_text_bytes: int = MAX_TEXT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=channel_options(target, CHANNEL_OPTIONS))
        self._plan = plan
        self._max_text_bytes = max_text_bytes
        self._emit = emit
        self._clock = clock
        self._recorder = Recorder(clock)
        self._supervisor = Supervisor(to_stderr)
        self._closed = ClosedLoop(self._channel, self._recorder, clock, self._supervisor)
        self._open = OpenLoop(self._channel, self._recorder, clock, self._supervisor)
        self._reporter: asyncio.Task[None] | None = None

    def start(self, command_id: int = 0) -> None:
        """Starts the load and its events."""
        spec, texts = self._plan.spec, len(self._plan.corpus.texts)
        self._emit(Started(self._clock(), spec.corpus, texts, spec, command_id))
        self._reporter = self._supervisor.keep_running("the load generator's reporting", self._report)
        self._apply(self._plan)

    async def change(self, spec: LoadSpec, command_id: int = 0) -> None:
        """Applies `spec` to every request from now on; those in flight are not affected. Raises CorpusError."""
        old = self._plan.spec
        if (spec.corpus, spec.seed, spec.workload) == (old.corpus, old.seed, old.workload):
            self._plan = Plan(spec, self._plan.requests, self._plan.corpus)
        else:
            self._plan = await make_plan(spec, self._max_text_bytes)
        self._apply(self._plan)
        self._emit(Changed(self._clock(), len(self._plan.corpus.texts), spec, command_id))

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Waits up to `timeout_s` for the requests in flight, then emits the last interval and Stopped."""
        self._closed.stop_sending()
        self._open.stop_sending()
        tasks = [*self._closed.tasks, *self._open.tasks]
        abandoned = 0
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=timeout_s)
            abandoned = self._recorder.in_flight
            for task in pending:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._reporter is not None:
            self._reporter.cancel()
            await asyncio.gather(self._reporter, return_exceptions=True)
        self._emit(self._recorder.cut())
        recorder = self._recorder
        self._emit(Stopped(self._clock(), recorder.requests, recorder.texts, dict(recorder.errors), abandoned))
        await self._channel.close()

    def _apply(self, plan: Plan) -> None:
        if plan.spec.is_open:
            self._closed.stop_sending()
            self._open.apply(plan)
        else:
            self._open.stop_sending()
            self._closed.apply(plan)

    async def _report(self) -> None:
        """Emits a tick every 100 ms and an interval every second, on a fixed time grid.

        If the process was suspended, the missed part of the grid is emitted at once as one tick and one interval.
        """
        begin_s = self._clock()
        ticks = intervals = 0
        while True:
            ticks = max(ticks + 1, int((self._clock() - begin_s) / TICK_S))
            await asyncio.sleep(max(begin_s + ticks * TICK_S - self._clock(), 0.0))
            self._emit(self._recorder.tick())
            if ticks // TICKS_PER_INTERVAL > intervals:
                intervals = ticks // TICKS_PER_INTERVAL
                self._emit(self._recorder.cut())
