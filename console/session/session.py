"""A session: an engine and a load, merged into one frame. Every front end uses it."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from console.load.protocol import Interval, Tick
from console.model.engine import Deployment, EngineSpec, EngineState
from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.model.load import LoadSpec
from console.model.supervise import Supervisor
from console.model.switch import Marker, SwitchDelta
from console.session.control_client import EngineRefusal
from console.session.engine import EngineController, EngineEvents
from console.session.listener import Listeners, SessionListener
from console.session.live_metrics import EngineSample, LiveMetrics
from console.session.load import LoadController, LoadEvents
from console.session.log import LogRing
from console.session.port import Detached, SessionOptions
from console.session.switch import CompletedSwitch, Switcher
from console.session.switch_delta import SwitchTimes, begin_delta, fidelity_change, measure_delta

HEARTBEAT_S = 1.0


class Session:
    """Implements SessionPort on the running event loop. `async with Session(options)` opens and closes it."""

    def __init__(self, options: SessionOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._origin_s = clock()
        self._spec = options.engine
        self._metrics = LiveMetrics()
        self._log = LogRing()
        self._supervisor = Supervisor(self._console_log)
        self._listeners = Listeners(self._supervisor)
        self._engine = EngineController(
            options,
            EngineEvents(
                log=lambda level, text: self._log.add("engine", level, text),
                sample=self._metrics.sample,
                lost=self._on_engine_lost,
            ),
            self._now_s,
            self._supervisor,
        )
        self._load = LoadController(
            options.load,
            self._metrics,
            LoadEvents(self._log.add, self._on_interval, self._on_load_started, self._on_load_stopped),
            self._now_s,
            self._origin_s,
        )
        self._switcher = Switcher(
            self._engine, self._on_switch_completed, self._console_log, self._now_s, self._supervisor
        )
        self._markers: tuple[Marker, ...] = ()
        self._deltas: tuple[SwitchDelta, ...] = ()
        self._switch_times: dict[int, SwitchTimes] = {}
        self._changed_again_s: dict[int, float] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._heartbeat_task: asyncio.Task[None] | None = None
        self._console_cpu = 0.0

    @classmethod
    def opened(cls, options: SessionOptions) -> "Session":
        """Returns an open session, which the caller must close."""
        session = cls(options)
        session.open()
        return session

    async def __aenter__(self) -> "Session":
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def open(self) -> None:
        """Begins to connect to or to start the engine, as the options say. Returns at once."""
        self._heartbeat_task = self._supervisor.keep_running("the session's heartbeat", self._heartbeat)
        if self._options.connect:
            self._engine.connect(self._options.connect)
        elif self._options.start:
            self._in_background("starting the engine", self._engine.start(self._spec))

    # ---- SessionPort

    @property
    def frame(self) -> Frame:
        """The current snapshot. Cheap; never blocks."""
        return Frame(
            now_s=self._now_s(),
            engine=self._engine.snapshot(),
            load=self._load.snapshot(),
            window=self._metrics.window(),
            points=self._metrics.points,
            points_version=self._metrics.points_version,
            markers=self._markers,
            deltas=self._deltas,
            capabilities=self._engine.capabilities,
            log=self._log.lines,
            log_version=self._log.version,
            console_cpu=self._console_cpu,
            dropped_frames=self._engine.late_frames,
        )

    @property
    def engine_spec(self) -> EngineSpec:
        return self._spec

    async def start_engine(self) -> None:
        self._load.clear_message()
        await self._engine.start(self._spec)

    async def stop_engine(self) -> None:
        self._engine.refuse_if_remote("stop")
        if self._engine.engine.state in (EngineState.STOPPED, EngineState.DRAINING):
            raise CommandRefused(f"the engine is {self._engine.engine.state}: there is nothing to stop")
        await self._stop_switch_and_load()
        self._in_background("stopping the engine", self._engine.stop())

    async def restart_engine(self, spec: EngineSpec | None = None) -> None:
        """Stops the engine if it runs, and starts it. A running load is started again when the engine serves.

        `spec`: the options from now on; by default the previous ones.
        """
        self._engine.refuse_if_remote("restart")
        if self._engine.engine.state is EngineState.STARTING:
            raise CommandRefused("the engine is starting already: stop it first")
        self._spec = spec or self._spec
        resumed = self._load.load.spec if self._load.load.running else None
        await self._stop_switch_and_load()
        if self._engine.engine.pid:
            await self._engine.stop()
        self._load.clear_message()
        await self._engine.start(self._spec)
        if resumed is not None:
            self._in_background("starting the load again", self._resume(resumed))

    async def switch(self, target: Deployment, *, strict: bool = False, fresh: bool = False) -> None:
        """`fresh`: the engine chooses an empty recipe, instances and threads, instead of keeping the live ones."""
        requested_s = self._now_s()
        await self._switcher.switch(target, strict, fresh)
        self._conditions_changed(requested_s)

    async def cancel_switch(self) -> None:
        await self._switcher.cancel()

    async def start_load(self, spec: LoadSpec, *, experiment: bool = False) -> None:
        """`experiment`: a measurement generates the load and records it itself."""
        self._engine.serving()
        limit = self._engine.max_texts_per_request
        if limit and spec.batch > limit:
            raise CommandRefused(f"batch {spec.batch:,} is over this engine's limit of {limit:,} texts a request")
        await self._load.start(spec, self._engine.engine.address, self._engine.max_text_bytes, experiment)

    async def change_load(self, spec: LoadSpec) -> None:
        await self._load.change(spec)
        self._end_settling()

    async def stop_load(self) -> None:
        await self._load.stop()
        self._end_settling()

    async def set_coalescing(self, on: bool) -> None:
        await self.configure(coalesce=on)

    async def configure(self, **knobs: Any) -> None:
        """Sets the named fields of Batching now and for the next start. Raises CommandRefused."""
        await self._engine.configure(knobs)
        self._spec = replace(self._spec, **knobs)
        self._conditions_changed(self._now_s())

    def note(self, text: str, level: str = "event") -> None:
        self._console_log(level, text)

    def mark(self, label: str, time_s: float) -> None:
        marker = Marker(time_s, sum(marker.by_hand for marker in self._markers) + 1, label, by_hand=True)
        self._markers = tuple(sorted((*self._markers, marker), key=lambda one: one.time_s))
        ago_s = self._now_s() - time_s
        self._console_log("event", f"{marker.name} {label}".rstrip() + (f" ({ago_s:.0f} s ago)" if ago_s >= 2 else ""))
        self._listeners.tell(lambda listener: listener.switches_changed())

    async def detach(self) -> Detached:
        if self._load.load.running:
            await self._load.stop()
        await self._switcher.close()
        return await self._engine.detach()

    async def close(self) -> None:
        """Stops the processes that this session started, except a detached engine."""
        for task in (*self._background, *([self._heartbeat_task] if self._heartbeat_task else [])):
            task.cancel()
        try:
            await asyncio.gather(self._switcher.close(), self._load.close())
        finally:
            await self._engine.close()

    # ---- for headless runs and recorders

    def subscribe(self, listener: SessionListener) -> None:
        """Calls the listener from now on."""
        self._listeners.add(listener)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """The load generator's ticks of the last seconds, oldest first, in the session's time."""
        return tuple(self._metrics.ticks)

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """The load generator's intervals, oldest first, in the session's time."""
        return tuple(self._metrics.intervals)

    @property
    def samples(self) -> tuple[EngineSample, ...]:
        """The engine's counters, one sample a second, oldest first, in the session's time."""
        return tuple(self._metrics.samples)

    @property
    def now_s(self) -> float:
        return self._now_s()

    @property
    def driver_pid(self) -> int:
        """Process id of the load generator; 0 if it does not run."""
        return self._load.driver_pid

    @property
    def engine_exit_code(self) -> int | None:
        """Exit code of this session's engine; None before it has exited."""
        return self._engine.exit_code

    @property
    def refused_options(self) -> bool:
        """Whether this session's engine ended because it cannot be started with its options."""
        return self._engine.refused_options

    async def measure_fidelity(self, progress: Callable[[str], None]) -> dict[str, Any]:
        """Measures the live deployment's fidelity to fp32. Returns the fields of `engine fidelity --json`.

        `progress` is called with a description of each step. Refreshes the capabilities, which then include the result.
        Raises CommandRefused.
        """
        try:
            result = await self._engine.serving().measure_fidelity(progress)
        except EngineRefusal as error:
            raise CommandRefused(f"fidelity could not be measured: {error}") from error
        await self._engine.refresh_capabilities()
        return result

    async def wait_until_switched(self) -> None:
        """Returns when no switch is in progress and the frame reflects the last one."""
        await self._switcher.wait_ended()

    async def wait_until_ready(self) -> None:
        """Returns when the engine serves, or when it failed to start or was lost: see the frame's engine state."""
        await self._engine.ready.wait()

    # ---- callbacks

    def _now_s(self) -> float:
        return self._clock() - self._origin_s

    def _console_log(self, level: str, text: str) -> None:
        self._log.add("console", level, text)

    def _on_interval(self, interval: Interval) -> None:
        self._measure_deltas()
        self._listeners.tell(lambda listener: listener.interval_ended())

    def _on_load_started(self, started_s: float) -> None:
        self._listeners.tell(lambda listener: listener.load_started(started_s))

    def _on_load_stopped(self, failure: str) -> None:
        self._listeners.tell(lambda listener: listener.load_stopped(failure))

    def _on_engine_lost(self) -> None:
        if self._load.load.running:
            self._in_background("stopping the load", self._load.stop("stopped: the engine no longer serves"))

    def _on_switch_completed(self, completed: CompletedSwitch) -> None:
        ordinal = len(self._switch_times) + 1
        self._markers = (*self._markers, Marker(completed.cut_over_s, ordinal, completed.label, completed.fell_back))
        times = SwitchTimes(
            ordinal=ordinal,
            label=completed.label,
            requested_s=completed.requested_s,
            cut_over_s=completed.cut_over_s,
            released_s=completed.released_s,
            steady_since_s=self._load.steady_since_s,
            before=completed.before,
            after=completed.effective,
        )
        self._switch_times[ordinal] = times
        self._deltas = (*self._deltas, begin_delta(times))
        self._listeners.tell(lambda listener: listener.cut_over(completed.cut_over_s))
        self._listeners.tell(lambda listener: listener.switches_changed())
        requested = completed.requested  # a restart uses the deployment that was requested last
        self._spec = replace(
            self._spec, backend=requested.backend, precision=requested.precision, recipe=requested.recipe
        )

    def _conditions_changed(self, time_s: float) -> None:
        self._end_settling()
        self._listeners.tell(lambda listener: listener.conditions_changed(time_s))

    def _end_settling(self) -> None:
        """Ends the measurement of unsettled deltas, because the conditions change now."""
        for delta in self._deltas:
            if not delta.settled:
                self._changed_again_s.setdefault(delta.ordinal, self._now_s())

    def _measure_deltas(self) -> None:
        if all(delta.settled for delta in self._deltas):
            return
        now_s, intervals, samples = self._now_s(), self.intervals, self.samples
        settling = [delta.ordinal for delta in self._deltas if not delta.settled]
        self._deltas = tuple(
            delta
            if delta.settled
            else measure_delta(
                self._switch_times[delta.ordinal], now_s, intervals, samples, self._changed_again_s.get(delta.ordinal)
            )
            for delta in self._deltas
        )
        self._listeners.tell(lambda listener: listener.switches_changed())
        for delta in self._deltas:
            if delta.settled and delta.ordinal in settling:
                self._in_background("reading the fidelity of a switch", self._add_fidelity(delta.ordinal))

    async def _add_fidelity(self, ordinal: int) -> None:
        """Adds the fidelity before and after the switch to its delta."""
        await self._engine.refresh_capabilities()
        change = fidelity_change(self._switch_times[ordinal], self._engine.capabilities)
        self._deltas = tuple(
            replace(delta, fidelity=change) if delta.ordinal == ordinal else delta for delta in self._deltas
        )
        self._listeners.tell(lambda listener: listener.switches_changed())

    async def _stop_switch_and_load(self) -> None:
        await self._switcher.close()
        if self._load.load.running:
            await self._load.stop("stopped with the engine")

    async def _resume(self, spec: LoadSpec) -> None:
        await self.wait_until_ready()
        with suppress(CommandRefused):
            await self.start_load(spec)

    async def _heartbeat(self) -> None:
        """Every second: adds a gap to the charts if no load runs, updates deltas, measures the console's CPU use."""
        wall_s, cpu_s = self._clock(), time.process_time()
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if not self._load.load.running:
                self._metrics.gap(self._now_s())
                self._measure_deltas()
            new_wall_s, new_cpu_s = self._clock(), time.process_time()
            self._console_cpu = (new_cpu_s - cpu_s) / max(new_wall_s - wall_s, 1e-9)
            wall_s, cpu_s = new_wall_s, new_cpu_s

    def _in_background(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._supervisor.run(what, work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
