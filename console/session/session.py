"""One experiment session: the engine, the load, and the frame they merge into. What every front end stands on."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from console.load.protocol import Interval
from console.model.engine import Deployment, EngineSpec, EngineState
from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.model.load import LoadSpec
from console.model.supervise import Supervisor
from console.model.switch import Marker, SwitchDelta
from console.session.control_client import EngineRefusal
from console.session.engine import EngineEvents, EngineLink
from console.session.live_metrics import EngineSample, Figures
from console.session.load import LoadEvents, LoadLink
from console.session.log import LogRing
from console.session.port import Detached, SessionOptions
from console.session.switch import Switched, Switcher
from console.session.switch_delta import SwitchSpan, begin_delta, fidelity_change, measure_delta

BEAT_S = 1.0


class Session:
    """Implements SessionPort. `async with Session(options)` opens and closes it; it belongs to the running loop."""

    def __init__(self, options: SessionOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._origin_s = clock()
        self._spec = options.engine
        self._figures = Figures()
        self._log = LogRing()
        self._supervisor = Supervisor(self._console_log)
        self._link = EngineLink(
            options,
            EngineEvents(
                log=lambda level, text: self._log.add("engine", level, text),
                sample=self._figures.sample,
                lost=self._on_engine_lost,
            ),
            self._now_s,
            self._supervisor,
        )
        self._load = LoadLink(
            options.load, self._figures, LoadEvents(self._log.add, self._on_interval), self._now_s, self._origin_s
        )
        self._switcher = Switcher(self._link, self._on_switched, self._console_log, self._now_s, self._supervisor)
        self._markers: tuple[Marker, ...] = ()
        self._deltas: tuple[SwitchDelta, ...] = ()
        self._spans: dict[int, SwitchSpan] = {}
        self._disturbed_s: dict[int, float] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._beating: asyncio.Task[None] | None = None
        self._console_cpu = 0.0

    @classmethod
    def opened(cls, options: SessionOptions) -> "Session":
        """A session that is open already, for front ends that close it themselves."""
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
        """Connects or starts the engine, as the options say; returns at once, the frames tell what comes of it."""
        self._beating = self._supervisor.keep_running("the session's heartbeat", self._beat)
        if self._options.connect:
            self._link.connect(self._options.connect)
        elif self._options.start:
            self._in_background("starting the engine", self._link.start(self._spec))

    # ---- SessionPort

    @property
    def frame(self) -> Frame:
        """The newest snapshot: cheap, never blocks."""
        return Frame(
            now_s=self._now_s(),
            engine=self._link.snapshot(),
            load=self._load.snapshot(),
            window=self._figures.window(),
            points=self._figures.points,
            points_version=self._figures.points_version,
            markers=self._markers,
            deltas=self._deltas,
            capabilities=self._link.capabilities,
            log=self._log.lines,
            log_version=self._log.version,
            console_cpu=self._console_cpu,
            dropped_frames=self._link.late_frames,
        )

    @property
    def engine_spec(self) -> EngineSpec:
        return self._spec

    async def start_engine(self) -> None:
        self._load.forget_why_it_stopped()
        await self._link.start(self._spec)

    async def stop_engine(self) -> None:
        self._link.refuse_if_remote("stop")
        if self._link.engine.state in (EngineState.STOPPED, EngineState.DRAINING):
            raise CommandRefused(f"the engine is {self._link.engine.state}: there is nothing to stop")
        await self._quiet_before_stop()
        self._in_background("stopping the engine", self._link.stop())

    async def restart_engine(self, spec: EngineSpec | None = None) -> None:
        """Ends it if it runs and starts it anew; a load that ran is started again when it serves.

        `spec`: how, from now on; else as before.
        """
        self._link.refuse_if_remote("restart")
        if self._link.engine.state is EngineState.STARTING:
            raise CommandRefused("the engine is starting already: stop it first")
        self._spec = spec or self._spec
        resumed = self._load.load.spec if self._load.load.running else None
        await self._quiet_before_stop()
        if self._link.engine.pid:
            await self._link.stop()
        self._load.forget_why_it_stopped()
        await self._link.start(self._spec)
        if resumed is not None:
            self._in_background("starting the load again", self._resume(resumed))

    async def switch(self, target: Deployment, *, strict: bool = False, fresh: bool = False) -> None:
        """`fresh`: empty recipe, instances and threads are chosen anew instead of kept."""
        await self._switcher.switch(target, strict, fresh)
        self._disturb()

    async def cancel_switch(self) -> None:
        await self._switcher.cancel()

    async def start_load(self, spec: LoadSpec) -> None:
        self._link.serving()
        limit = self._link.max_texts_per_request
        if limit and spec.batch > limit:
            raise CommandRefused(f"batch {spec.batch:,} is over this engine's limit of {limit:,} texts a request")
        await self._load.start(spec, self._link.engine.address, self._link.max_text_bytes)

    async def change_load(self, spec: LoadSpec) -> None:
        await self._load.change(spec)
        self._disturb()

    async def stop_load(self) -> None:
        await self._load.stop()
        self._disturb()

    async def set_coalescing(self, on: bool) -> None:
        await self.configure(coalesce=on)

    async def configure(self, **knobs: Any) -> None:
        """Sets the named fields of Batching, live and for the next start. Raises CommandRefused."""
        await self._link.configure(knobs)
        self._spec = replace(self._spec, **knobs)
        self._disturb()

    def note(self, text: str, level: str = "event") -> None:
        self._console_log(level, text)

    def mark(self, label: str, time_s: float) -> None:
        marker = Marker(time_s, sum(marker.by_hand for marker in self._markers) + 1, label, by_hand=True)
        self._markers = tuple(sorted((*self._markers, marker), key=lambda one: one.time_s))
        ago_s = self._now_s() - time_s
        self._console_log("event", f"{marker.name} {label}".rstrip() + (f" ({ago_s:.0f} s ago)" if ago_s >= 2 else ""))

    async def detach(self) -> Detached:
        if self._load.load.running:
            await self._load.stop()
        await self._switcher.close()
        return await self._link.detach()

    async def close(self) -> None:
        """Stops what this session started, unless detached."""
        for task in (*self._background, *([self._beating] if self._beating else [])):
            task.cancel()
        try:
            await asyncio.gather(self._switcher.close(), self._load.close())
        finally:
            await self._link.close()

    # ---- for headless runs

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """What the driver measured, oldest first, on the session's time."""
        return tuple(self._figures.intervals)

    @property
    def samples(self) -> tuple[EngineSample, ...]:
        """The engine's counters, one a second, oldest first, on the session's time."""
        return tuple(self._figures.samples)

    @property
    def now_s(self) -> float:
        return self._now_s()

    @property
    def driver_pid(self) -> int:
        """0 while there is none."""
        return self._load.driver_pid

    @property
    def engine_exit_code(self) -> int | None:
        """How this session's engine ended; None while it has not."""
        return self._link.exit_code

    async def measure_fidelity(self, progress: Callable[[str], None]) -> dict[str, Any]:
        """How close what is live comes to fp32, by the names of `engine fidelity --json`. Raises CommandRefused.

        `progress` gets words. The capabilities know the figure afterwards.
        """
        try:
            found = await self._link.serving().measure_fidelity(progress)
        except EngineRefusal as error:
            raise CommandRefused(f"fidelity is not known: {error}") from error
        await self._link.refresh_capabilities()
        return found

    async def until_switched(self) -> None:
        """Returns when no switch is under way, and the frame tells what came of the last one."""
        await self._switcher.ended()

    async def until_ready(self) -> None:
        """Returns when the engine serves, or when it will not: the frame's engine state tells which."""
        await self._link.ready.wait()

    # ---- what is heard

    def _now_s(self) -> float:
        return self._clock() - self._origin_s

    def _console_log(self, level: str, text: str) -> None:
        self._log.add("console", level, text)

    def _on_interval(self, interval: Interval) -> None:
        self._measure_deltas()

    def _on_engine_lost(self) -> None:
        if self._load.load.running:
            work = self._load.stop("stopped: the engine does not serve any more")
            self._in_background("stopping the load", work)

    def _on_switched(self, switched: Switched) -> None:
        ordinal = len(self._spans) + 1
        self._markers = (*self._markers, Marker(switched.cut_over_s, ordinal, switched.label, switched.fell_back))
        span = SwitchSpan(
            ordinal=ordinal,
            label=switched.label,
            requested_s=switched.requested_s,
            cut_over_s=switched.cut_over_s,
            released_s=switched.released_s,
            steady_since_s=self._load.steady_since_s,
            before=switched.before,
            after=switched.effective,
        )
        self._spans[ordinal] = span
        self._deltas = (*self._deltas, begin_delta(span))
        asked = switched.requested  # a restart brings back what was asked for last
        self._spec = replace(self._spec, backend=asked.backend, precision=asked.precision, recipe=asked.recipe)

    def _disturb(self) -> None:
        """The conditions change now: deltas still settling end here."""
        for delta in self._deltas:
            if not delta.settled:
                self._disturbed_s.setdefault(delta.ordinal, self._now_s())

    def _measure_deltas(self) -> None:
        if all(delta.settled for delta in self._deltas):
            return
        now_s, intervals, samples = self._now_s(), self.intervals, self.samples
        settling = [delta.ordinal for delta in self._deltas if not delta.settled]
        self._deltas = tuple(
            delta
            if delta.settled
            else measure_delta(
                self._spans[delta.ordinal], now_s, intervals, samples, self._disturbed_s.get(delta.ordinal)
            )
            for delta in self._deltas
        )
        for delta in self._deltas:
            if delta.settled and delta.ordinal in settling:
                self._in_background("reading what fidelity became", self._learn_fidelity(delta.ordinal))

    async def _learn_fidelity(self, ordinal: int) -> None:
        """What the engine knows of both cells by now, beside the speed."""
        await self._link.refresh_capabilities()
        found = fidelity_change(self._spans[ordinal], self._link.capabilities)
        self._deltas = tuple(
            replace(delta, fidelity=found) if delta.ordinal == ordinal else delta for delta in self._deltas
        )

    async def _quiet_before_stop(self) -> None:
        await self._switcher.close()
        if self._load.load.running:
            await self._load.stop("stopped with the engine")

    async def _resume(self, spec: LoadSpec) -> None:
        await self.until_ready()
        with suppress(CommandRefused):
            await self.start_load(spec)

    async def _beat(self) -> None:
        """Once a second: gaps on the charts, settling deltas, the console's own cost."""
        wall_s, cpu_s = self._clock(), time.process_time()
        while True:
            await asyncio.sleep(BEAT_S)
            if not self._load.load.running:
                self._figures.gap(self._now_s())
                self._measure_deltas()
            new_wall_s, new_cpu_s = self._clock(), time.process_time()
            self._console_cpu = (new_cpu_s - cpu_s) / max(new_wall_s - wall_s, 1e-9)
            wall_s, cpu_s = new_wall_s, new_cpu_s

    def _in_background(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._supervisor.run(what, work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
