"""The controller of one engine: starts and stops its process, follows its Control service, and keeps its state."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from console.model.engine import CapabilityCell, Deployment, Engine, EngineSpec, EngineState, Phase
from console.model.errors import CommandRefused
from console.model.supervise import Supervisor
from console.session import from_wire
from console.session.child_process import ChildGone
from console.session.control_client import ControlClient, EngineRefusal
from console.session.engine_process import EngineListener, EngineProcess
from console.session.live_metrics import EngineSample, engine_sample
from console.session.no_answer import no_answer, not_serving
from console.session.port import Detached, SessionOptions
from console.session.unknown import UnknownEnums
from engine.api import embed_pb2

WATCH_INTERVAL_MS = 1000
RETRY_S = 1.0
EXIT_GRACE_S = 0.5
"""Wait before a broken connection is reported: usually the process exited, and its exit code is more informative."""
_ALIVE = (EngineState.RUNNING, EngineState.SWITCHING)


@dataclass(frozen=True, slots=True)
class EngineEvents:
    """Callbacks of EngineController. Times are the session's."""

    log: Callable[[str, str], None]
    """level, text"""
    sample: Callable[[EngineSample], None]
    lost: Callable[[], None]
    """The engine exited: a running load has no target."""


class EngineController:
    """Owns the `Engine` value. Call its methods in the event loop's thread only."""

    def __init__(
        self,
        options: SessionOptions,
        events: EngineEvents,
        now_s: Callable[[], float],
        supervisor: Supervisor,
    ) -> None:
        self._options = options
        self._supervisor = supervisor
        self._unknown = UnknownEnums(lambda text: events.log("warning", text))
        self._events = events
        self._now_s = now_s
        self.engine = Engine(remote=bool(options.connect))
        self.capabilities: tuple[CapabilityCell, ...] = ()
        self.max_text_bytes = 0
        self.max_texts_per_request = 0
        self.exit_code: int | None = None
        self.refused_options = False
        """The engine ended because it cannot be started with these options."""
        self.late_frames = 0
        self.ready = asyncio.Event()
        """Set when the engine serves, and also when it failed to start or was lost: see the state."""
        self.control: ControlClient | None = None
        self._process: EngineProcess | None = None
        self._follower: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._stop_requested = False
        self._switching = False
        self._refreshing = False
        self._answered = False
        self._uptime_zero_s = 0.0
        self._last_frame_s: float | None = None
        self._last: embed_pb2.Frame | None = None

    # ---- commands

    async def start(self, spec: EngineSpec) -> None:
        """Starts the engine's process. Raises CommandRefused."""
        self.refuse_if_remote("start")
        if self._process is not None:
            raise CommandRefused(f"the engine is {self.engine.state}: stop or restart it")
        self.engine = Engine(state=EngineState.STARTING, phase=Phase("starting"))
        self.capabilities = ()
        self.exit_code = None
        self.refused_options = False
        self._stop_requested = False
        self.ready.clear()
        listener = EngineListener(self._on_ready, self._on_phase, self._events.log, self._on_exit)
        process = self._process = EngineProcess(listener)
        try:
            await process.start(spec, self._options.engine_command)
        except OSError as error:
            self._process = None
            self._start_failed(f"the engine's program cannot be started: {error.strerror}; is the package installed?")
            return
        self.engine = replace(self.engine, pid=process.pid)
        self._events.log("event", f"engine starting, pid {process.pid}")

    async def stop(self) -> None:
        """Drains and stops the engine; returns when it has exited. Raises CommandRefused."""
        self.refuse_if_remote("stop")
        process = self._process
        if process is None:
            raise CommandRefused("no engine runs: start it first")
        self._stop_requested = True
        self.engine = replace(self.engine, state=EngineState.DRAINING, phase=None)
        await process.stop(self._options.stop_timeout_s)

    async def detach(self) -> Detached:
        """Detaches the engine, which continues to run. Raises CommandRefused."""
        self.refuse_if_remote("detach")
        if self._process is None or self.engine.state not in _ALIVE:
            raise CommandRefused("no engine is serving: there is nothing to detach")
        try:
            detached = await self._process.detach()
        except (ChildGone, TimeoutError) as error:
            raise CommandRefused("the engine did not detach: stop it, or try again") from error
        self._process = None
        await self._disconnect()
        self.engine = Engine(message=f"left running at {detached.address}; {detached.stop_command} stops it")
        return detached

    def connect(self, address: str) -> None:
        """Follows a running engine until the session is closed."""
        self.engine = replace(
            self.engine,
            state=EngineState.STARTING,
            address=address,
            phase=Phase("connecting", f"connecting to {address}"),
        )
        self._follow(address)

    async def close(self) -> None:
        """Stops the engine if this session started it, and closes the connection."""
        try:
            if self._process is not None:
                self._stop_requested = True
                await self._process.stop(self._options.stop_timeout_s)
        finally:
            await self._disconnect()

    def serving(self) -> ControlClient:
        """Returns the connection to a serving engine. Raises CommandRefused with the next step."""
        if self.control is None or self.engine.state not in _ALIVE:
            raise CommandRefused(not_serving(self.engine.state, self._options.connect))
        return self.control

    async def configure(self, knobs: Mapping[str, Any]) -> None:
        """Sets the named fields of Batching. Raises CommandRefused."""
        try:
            batching = await self.serving().configure(knobs)
        except EngineRefusal as error:
            raise CommandRefused(f"the engine refused: {error}") from error
        self.engine = replace(self.engine, batching=batching)

    def snapshot(self) -> Engine:
        """Returns the engine's state with uptime and frame age computed for this moment."""
        engine, now_s = self.engine, self._now_s()
        if engine.state in (EngineState.STOPPED, EngineState.STARTING):
            return engine
        age_s = now_s - self._last_frame_s if self._last_frame_s is not None else 0.0
        return replace(engine, uptime_s=now_s - self._uptime_zero_s, last_frame_age_s=age_s)

    # ---- called by the Switcher

    def set_switch_phase(self, phase: Phase, requested: Deployment) -> None:
        """`requested`: the target of the switch; empty fields keep those of the last request."""
        self._switching = True
        requested = requested.over(self.engine.requested)
        self.engine = replace(self.engine, state=EngineState.SWITCHING, phase=phase, requested=requested, message="")

    async def switch_ended(self, message: str = "") -> None:
        """`message`: why the switch failed; kept until the next switch or start."""
        self._switching = False
        if self.engine.state is EngineState.SWITCHING:
            self.engine = replace(self.engine, state=EngineState.RUNNING, phase=None)
        self.engine = replace(self.engine, message=message or self.engine.message)
        await self._refresh()

    # ---- events of the process

    def _on_ready(self, event: dict[str, Any]) -> None:
        address = str(event.get("address", ""))
        self.engine = replace(self.engine, address=address, phase=Phase("connecting", f"connecting to {address}"))
        self._events.log("event", f"engine ready at {address}")
        self._follow(address)

    def _on_phase(self, phase: Phase) -> None:
        if self.engine.state is EngineState.STARTING:
            self.engine = replace(self.engine, phase=phase)
        self._events.log("event", phase.summary)

    def _on_exit(self, code: int, last_error: str) -> None:
        self.refused_options = self._process is not None and self._process.refused_options(code)
        self._process = None
        self.exit_code = code
        self._drop_connection()
        before = self.engine
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if self._stop_requested:
            self.engine = Engine()
            self._events.log("event", f"engine stopped ({how})")
        elif before.state is EngineState.STARTING:
            self._start_failed(last_error or f"the engine exited before it was ready ({how}): see the log")
            return
        else:
            output = f"; last output: {last_error}" if last_error and code > 0 else ""
            message = f"the engine was lost ({how}){output}: restart it"
            kept = {name: getattr(before, name) for name in ("address", "requested", "effective", "epoch", "model")}
            self.engine = Engine(state=EngineState.LOST, message=message, **kept)
            self._events.log("error", message)
        self._events.lost()
        self.ready.set()

    def _start_failed(self, message: str) -> None:
        self.engine = Engine(message=message)
        self._events.log("error", f"engine did not start: {message}")
        self.ready.set()

    # ---- events of the connection

    def _follow(self, address: str) -> None:
        self._drop_connection()
        control = self.control = ControlClient(address, self._unknown.check)
        self._follower = self._supervisor.keep_running(
            "following the engine", lambda: self._watch_and_retry(control), self._follower_failed
        )

    async def _watch_and_retry(self, control: ControlClient) -> None:
        while True:
            code, details = "DEADLINE_EXCEEDED", ""
            try:
                await self._watch(control)
                reason = "the engine ended the stream"
            except EngineRefusal as error:
                code, details = error.code, str(error)
                reason = f"{code}: {details}"
            except TimeoutError:
                reason = f"no message for {self._options.silence_s:.0f} s"
            if self._process is not None:
                await asyncio.sleep(EXIT_GRACE_S)
            self._set_lost(reason, no_answer(self.engine.address, code, details))
            await asyncio.sleep(RETRY_S)

    async def _watch(self, control: ControlClient) -> None:
        status = await control.status(self._options.silence_s)
        self._answered = True
        self._uptime_zero_s = self._now_s() - status.uptime_s
        self._last_frame_s = self._now_s()
        self._last = None
        if self.engine.state is EngineState.LOST:
            self._events.log("event", "the engine answers again")
        self.engine = replace(
            self.engine, state=EngineState.RUNNING, phase=None, message="", pid=status.pid, never_answered=False
        )
        self._apply_status(status)
        self.ready.set()
        loading = self._supervisor.run("reading the capabilities", self._load_capabilities(control))
        try:
            async with aclosing(control.watch(WATCH_INTERVAL_MS)) as frames:
                while True:
                    async with asyncio.timeout(self._options.silence_s):
                        frame = await anext(frames, None)
                    if frame is None:
                        return
                    self._apply_frame(frame)
                    if frame.epoch != self.engine.epoch and not self._switching:
                        await self._refresh()
        finally:
            loading.cancel()

    def _set_lost(self, reason: str, never_there: str) -> None:
        """`never_there` is the message for a remote engine that has not answered yet."""
        if self.engine.state in (EngineState.DRAINING, EngineState.STOPPED) or self._stop_requested:
            return
        never = bool(self._options.connect) and not self._answered
        next_step = "check it on its own host" if self._options.connect else "restart it if this continues"
        message = never_there if never else f"no answer from {self.engine.address} ({reason}): {next_step}"
        if self.engine.state is not EngineState.LOST:
            self._events.log("error", never_there if never else f"no answer from the engine: {reason}")
        self._set_state_lost(message, never_answered=never)

    def _set_state_lost(self, message: str, *, never_answered: bool = False) -> None:
        lost = EngineState.LOST
        self.engine = replace(self.engine, state=lost, phase=None, message=message, never_answered=never_answered)
        self.ready.set()

    def _follower_failed(self, sentence: str) -> None:
        """Sets the state to LOST after a fault of the console, which knows nothing of the engine until it retries."""
        if not self._stop_requested:
            self._set_state_lost(f"{sentence}: trying again; the log has the details")

    async def refresh_capabilities(self) -> None:
        """Reads the capabilities again, because the engine may have measured more cells."""
        if self.control is not None and self.engine.state in _ALIVE:
            await self._load_capabilities(self.control)

    async def _load_capabilities(self, control: ControlClient) -> None:
        try:
            self.capabilities = await control.capabilities()
        except EngineRefusal as error:
            self._events.log("warning", f"the capability matrix is not available: {error}")

    async def _refresh(self) -> None:
        if self.control is None or self._refreshing or self.engine.state not in _ALIVE:
            return
        self._refreshing = True
        try:
            self._apply_status(await self.control.status())
        except EngineRefusal as error:
            self._events.log("warning", f"the engine's status is not available: {error}")
        finally:
            self._refreshing = False

    def _apply_status(self, status: embed_pb2.Status) -> None:
        before = self.engine.warnings
        warnings = from_wire.with_state_warning(from_wire.notices(status), status.state)
        self.max_text_bytes = status.limits.max_text_bytes
        self.max_texts_per_request = status.limits.max_texts_per_request
        self.engine = replace(
            self.engine,
            requested=from_wire.deployment(status.requested),
            effective=from_wire.deployment(status.effective),
            evidence=status.evidence,
            warnings=warnings,
            epoch=status.epoch,
            model=from_wire.model_card(status.model),
            batching=from_wire.batching(status.batching),
            plan=from_wire.serving_plan(status.plan),
            cores=status.cores,
            cpu_model=status.cpu_model,
            machine=from_wire.machine(status),
        )
        for notice in warnings:
            if notice not in before:
                self._events.log("warning", notice.sentence)

    def _apply_frame(self, frame: embed_pb2.Frame) -> None:
        now_s, last = self._now_s(), self._last
        if self._last_frame_s is not None and now_s - self._last_frame_s > 2 * WATCH_INTERVAL_MS / 1000:
            self.late_frames += 1
        self._last_frame_s, self._last = now_s, frame
        cpu_cores = self.engine.cpu_cores
        if last is not None and frame.monotonic_s > last.monotonic_s:
            cpu_cores = (frame.cpu_s - last.cpu_s) / (frame.monotonic_s - last.monotonic_s)
        self.engine = replace(
            self.engine,
            rss_bytes=frame.rss_bytes,
            cpu_cores=cpu_cores,
            queued_items=frame.queued_items,
            queued_tokens=frame.queued_tokens,
            in_flight_requests=frame.in_flight_requests,
            oldest_in_flight_s=frame.oldest_in_flight_s,
            idle_instances=frame.idle_instances,
        )
        if not self._switching and not self._stop_requested:
            self._apply_serving_state(frame)
        self._events.sample(engine_sample(frame, now_s))

    def _apply_serving_state(self, frame: embed_pb2.Frame) -> None:
        """Applies a switch or a drain that another client requested. An unknown state adds a warning."""
        warnings = from_wire.with_state_warning(self.engine.warnings, frame.state)
        self.engine = replace(self.engine, warnings=warnings)
        if frame.state == embed_pb2.SWITCHING and frame.HasField("switch"):
            phase = from_wire.switch_phase(frame.switch)
            requested = from_wire.deployment(frame.switch.requested).over(self.engine.requested)
            self.engine = replace(self.engine, state=EngineState.SWITCHING, phase=phase, requested=requested)
        elif frame.state == embed_pb2.DRAINING_TO_EXIT:
            self.engine = replace(self.engine, state=EngineState.DRAINING, phase=None)
        else:
            self.engine = replace(self.engine, state=EngineState.RUNNING, phase=None)

    def _drop_connection(self) -> None:
        """Stops following, and closes the connection in the background, so that the next one can start at once."""
        follower, control = self._follower, self.control
        self._follower = self.control = None
        if follower is not None:
            follower.cancel()
        if control is not None:
            closing = self._supervisor.run("closing the connection to the engine", control.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _disconnect(self) -> None:
        """Closes every connection; returns when they are closed."""
        follower = self._follower
        self._drop_connection()
        await asyncio.gather(*self._closing, *([follower] if follower else []), return_exceptions=True)

    def refuse_if_remote(self, verb: str) -> None:
        """Raises CommandRefused for an engine that this session did not start."""
        if self._options.connect:
            raise CommandRefused(
                f"the engine at {self._options.connect} was not started here, so this console cannot {verb} it:"
                f" {verb} it on its own host"
            )
