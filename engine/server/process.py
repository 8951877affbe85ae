"""An engine process: bind, build the first deployment, serve, drain, exit."""

import asyncio
import ipaddress
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Literal

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection

from engine.api import embed_pb2
from engine.artifacts.calibration import Calibration
from engine.artifacts.store import ArtifactStore
from engine.capabilities.platform import this_platform
from engine.deployment.live import LiveDeployment
from engine.deployment.load import Supervision
from engine.deployment.switch import Deployments
from engine.deployment.target import SwitchStep, Target
from engine.doors.embed_v1.control import Control
from engine.doors.embed_v1.embedder import Embedder
from engine.doors.inbound import InboundMemory
from engine.doors.limits import EngineLimits
from engine.doors.registration import add_servicer
from engine.errors import EngineError
from engine.exit_codes import ExitCode
from engine.host.faults import FaultFile
from engine.host.memory import trim_heap
from engine.host.reporting import Reporter
from engine.pipeline.embedding import EmbeddingPipeline
from engine.pipeline.metrics import Telemetry
from engine.scheduling import Admission, PassLimits, ProbeSchedule, Watchdog
from engine.scheduling.health import DEFAULT_PROBE_IDLE_S
from engine.server.end import end_process_with
from engine.server.gc_policy import collect_when_idle, freeze_start_up_objects
from engine.server.health import HealthPublisher, probe_when_due
from engine.server.lifeline import Lifeline, is_pipe_or_socket
from engine.server.memory_policy import trim_after_growth
from engine.server.observations import LoadSample, record_load_cosine, record_peak_throughput
from engine.server.signals import not_ignored
from engine.tuning.plan import BatchOverrides

EXIT_GRACE_S = 30.0
"""How long the process may take to end after a signal, in seconds, unless an option says otherwise. Chosen: Kubernetes
kills a process after as long."""

END_RESERVE_S = 2.0
"""The part of the grace period, in seconds, that is left to end when requests are still unanswered; at most a quarter
of it. Chosen."""

CLOSE_LIMIT_S = 10.0
"""How long the process may take to end once every request is answered, in seconds. Chosen."""

LINGER_S = 0.1
"""How long the server stays open after the last answer, in seconds: answers are still written, and callers that send
one request after another learn that the engine drains. Chosen."""

LOOP_LIMIT_S = 10.0
"""How long the event loop may be busy with one callback, in seconds. Chosen: its longest work, a full garbage
collection, takes less than one second; and a signal to end can be handled within the grace period."""

RESPONSE_OVERHEAD_BYTES = 1024 * 1024
"""Bytes of a response besides its vectors: token counts, flags, names. Chosen well above those of 2,048 texts."""

SERVICES = ("embed.v1.Embedder", "embed.v1.Control")


class CannotStart(EngineError):
    """The engine cannot start. The message is the reason, `fix` the next step."""

    def __init__(self, code: str, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.fix = fix


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The options of `engine serve`."""

    host: str = "127.0.0.1"
    port: int = 50051
    lifeline: bool = False
    """Whether the engine drains and exits when its stdin ends."""
    target: Target = field(default_factory=Target)
    strict: bool = False
    batching: BatchOverrides = field(default_factory=BatchOverrides)
    tune: bool = False
    """Whether to measure the serving plan of the cell, if this machine has none."""
    limits: EngineLimits = field(default_factory=EngineLimits)
    calibration: Calibration | None = None
    """The user's texts for recipes that calibrate."""
    pass_limits: PassLimits = field(default_factory=PassLimits)
    grace_s: float = EXIT_GRACE_S
    probe_idle_s: float = DEFAULT_PROBE_IDLE_S
    faults: FaultFile | None = None

    @property
    def loop_limit_s(self) -> float:
        """How long the event loop may be busy with one callback."""
        return min(LOOP_LIMIT_S, self.pass_limits.fixed_s or LOOP_LIMIT_S, max(1.0, self.grace_s))


class EngineServer:
    """The engine's gRPC server, from bind to exit."""

    def __init__(
        self, options: ServeOptions, reporter: Reporter, on_ended: Callable[[ExitCode], None] = lambda _: None
    ) -> None:
        """`on_ended`: called when everything is answered and freed, before the server closes its connections."""
        self._options = options
        self._reporter = reporter
        self._stopping = asyncio.Event()
        self._on_ended = on_ended
        self._exit_code = ExitCode.ABANDONED  # until drained
        self._drain_task: asyncio.Task[tuple[int, int]] | None = None
        self._telemetry = Telemetry()
        limits = options.limits
        self._watchdog = Watchdog(options.loop_limit_s, self._on_loop_hang, self._on_deadline)
        self._deployments = Deployments(
            this_platform(), ArtifactStore.default(), self._telemetry, options.batching,
            calibration=options.calibration,
            supervision=Supervision(self._watchdog, options.pass_limits, options.faults),
        )  # fmt: skip
        self._pipeline = EmbeddingPipeline(self._deployments, Admission(limits.queue), self._telemetry, limits.request)
        self._health = HealthPublisher(self._deployments.readiness, SERVICES)
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # otherwise a second engine shares the port without an error
                ("grpc.max_receive_message_length", limits.wire.max_message_bytes),
                ("grpc.max_send_message_length", limits.request.max_response_bytes + RESPONSE_OVERHEAD_BYTES),
                ("grpc.max_concurrent_streams", limits.wire.max_streams_per_connection),
            ]
        )
        inbound = InboundMemory(limits.wire.max_decoded_bytes)
        services = embed_pb2.DESCRIPTOR.services_by_name
        for service, servicer in (
            (services["Embedder"], Embedder(self._pipeline, inbound)),
            (services["Control"], Control(self._pipeline, limits, self._drain_on_request)),
            (health_pb2.DESCRIPTOR.services_by_name["Health"], self._health.servicer),
        ):
            add_servicer(self._server, service, servicer, self._telemetry, inbound)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def run(self) -> ExitCode:
        """Serves until a signal, `Drain` or the lifeline ends it, then drains. Raises CannotStart, or the error of the
        first deployment.

        If it is ended while it starts, it stops starting, answers the requests that it has accepted, and frees what it
        has created.
        """
        address = self._bind()
        self._install_signal_handlers()
        if self._options.lifeline:
            if not is_pipe_or_socket():
                raise CannotStart(
                    "no_lifeline",
                    "--lifeline stdin needs a pipe or a socket as stdin, held by the program that starts the engine",
                    "leave --lifeline out: the engine then serves until a signal or Control.Drain ends it",
                )
            await Lifeline.attach(self._reporter, self._stop)
        self._watchdog.start()
        starting = asyncio.create_task(self._start(address))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            try:
                await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    await starting
                    await self._serve(stopping)
                else:
                    starting.cancel()
                    await asyncio.gather(starting, return_exceptions=True)  # its error no longer matters
                    await self._drain()
            finally:
                stopping.cancel()
                await self._close()
            self._on_ended(self._exit_code)
        finally:
            await self._server.stop(grace=1.0)
            self._watchdog.stop()
        return self._exit_code

    async def _close(self) -> None:
        """Ends streams with a reason, and frees what the process holds. Late callers are still refused with one."""
        self._watchdog.set_deadline(CLOSE_LIMIT_S)
        self._pipeline.streams.end_all("the engine has ended: use another engine")
        if self._drain_task is not None:
            await asyncio.sleep(LINGER_S)
        await self._deployments.close()
        self._pipeline.close()
        self._reporter.log("info", "ended")

    async def _serve(self, stopping: "asyncio.Task[Literal[True]]") -> None:
        """Serves from the ready line until the last request is answered."""
        telemetry, counts = self._telemetry, self._telemetry.counts
        background = [
            asyncio.create_task(
                record_peak_throughput(
                    self._deployments,
                    lambda: LoadSample(counts.texts, counts.requests, telemetry.in_flight_requests),
                    telemetry.now_s,
                )
            ),
            asyncio.create_task(collect_when_idle(lambda: telemetry.in_flight_requests, lambda: counts.ended)),
            asyncio.create_task(trim_after_growth(lambda: telemetry.process_usage()[0], trim_heap)),
            asyncio.create_task(
                probe_when_due(
                    lambda: self._deployments.live.scheduler,
                    ProbeSchedule(self._options.probe_idle_s, telemetry.now_s),
                )
            ),
        ]
        await stopping
        await self._drain()
        for task in background:
            task.cancel()
        await asyncio.wait(background)

    def _bind(self) -> str:
        host, port = self._options.host, self._options.port
        check_host(host)
        shown = f"[{host.strip('[]')}]" if ":" in host else host
        try:
            bound = self._server.add_insecure_port(f"{shown}:{port}")
        except RuntimeError as error:
            raise CannotStart(
                "cannot_bind",
                f"cannot listen on {shown}:{port}: the port is in use, or this machine does not have the address",
                "choose another --port (0 selects a free one), or stop the process that uses it",
            ) from error
        return f"{shown}:{bound}"

    async def _start(self, address: str) -> None:
        options = self._options
        live = await self._deployments.start(
            options.target, strict=options.strict, on_step=self._report_step, tune=options.tune
        )
        await self._health.start()
        await self._server.start()
        freeze_start_up_objects()
        if not _is_loopback(options.host):
            self._reporter.log("warning", f"{address} is reachable from other machines, without authentication")
        await asyncio.to_thread(record_load_cosine, self._deployments, live)
        for notice in live.plan.notices:
            self._reporter.log("warning", notice.message)
        self._reporter.data("ready", **_ready(address, live))

    def _report_step(self, step: SwitchStep) -> None:
        self._reporter.phase(
            step.state.name.lower(), step.message, round(step.progress * 100), 100 if step.progress else 0
        )

    def _install_signal_handlers(self) -> None:
        loop = asyncio.get_running_loop()
        for number in not_ignored(signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            self._reporter.log("warning", f"second {number.name}: exiting now, without waiting for requests")
            os._exit(ExitCode.ABANDONED)
        grace_s = self._options.grace_s
        self._reporter.log("info", f"{number.name}: draining for at most {grace_s:.0f} s; a second one exits now")
        self._stop()

    def _stop(self) -> None:
        """Begins to drain, and to end within the grace period."""
        self._limit_drain(self._options.grace_s)
        self._stopping.set()

    async def _drain_on_request(self, grace_s: float | None) -> tuple[int, int]:
        if grace_s is not None:
            self._limit_drain(grace_s)
        result = await self._drain()
        # The response of Drain itself is sent after this, while the server lingers.
        self._stopping.set()
        return result

    def _limit_drain(self, grace_s: float) -> None:
        """Ends unanswered requests at the end of the grace period, and the process if it has not ended soon after."""
        reserve_s = min(END_RESERVE_S, grace_s / 4)
        asyncio.get_running_loop().call_later(grace_s - reserve_s, self._abandon)
        self._watchdog.set_deadline(max(grace_s, END_RESERVE_S))

    def _abandon(self) -> None:
        if self._telemetry.in_flight_requests:
            self._reporter.log(
                "warning", f"{self._telemetry.in_flight_requests} requests unanswered at the end of the grace period"
            )
            self._pipeline.abandon()

    async def _drain(self) -> tuple[int, int]:
        """Drains once. Returns the numbers of requests that were answered, and that were lost, while draining."""
        if self._drain_task is None:
            self._drain_task = asyncio.create_task(self._drain_once())
        return await asyncio.shield(self._drain_task)

    async def _drain_once(self) -> tuple[int, int]:
        await self._health.shut_down()
        answered_before, lost_before = self._telemetry.counts.requests, self._pipeline.lost_requests
        started_s = time.monotonic()
        await self._pipeline.drain()
        answered = self._telemetry.counts.requests - answered_before
        lost = self._pipeline.lost_requests - lost_before
        self._exit_code = ExitCode.ABANDONED if lost else ExitCode.OK
        self._reporter.log("info", f"drained {answered} requests in {time.monotonic() - started_s:.2f} s")
        return answered, lost

    # ---- called in the watchdog's thread --------------------------------------------------------------------------

    def _on_loop_hang(self, busy_s: float) -> None:
        message = f"the event loop has been busy for {busy_s:.0f} s, probably in a forward pass that hangs: exiting"
        self._end_with(ExitCode.WATCHDOG, "watchdog", message, "restart the engine")

    def _on_deadline(self) -> None:
        unanswered = self._telemetry.in_flight_requests
        message = f"the engine has not ended in time: exiting, with {unanswered} requests unanswered"
        self._end_with(self._exit_code, "ended_late", message, "send them to another engine" if unanswered else "")

    def _end_with(self, code: ExitCode, error_code: str, message: str, fix: str) -> None:
        end_process_with(code, self._reporter.error_line(error_code, message, fix))


def check_host(host: str) -> None:
    """Raises CannotStart for a host that no client could connect to, with how to write it."""
    problem = ""
    if "://" in host or "/" in host:
        problem = "is a URL or a path"
    elif ":" in host:
        try:
            ipaddress.IPv6Address(host.strip("[]").partition("%")[0])
        except ValueError:
            problem = "contains a port, or is no IPv6 address"
    elif not host.strip() or any(letter.isspace() for letter in host):
        problem = "is empty or has blanks"
    if problem:
        raise CannotStart(
            "bad_host",
            f"--host {host!r} {problem}",
            "write a name or an address alone, as in 127.0.0.1, ::1 or localhost; --port sets the port",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _ready(address: str, live: LiveDeployment) -> dict[str, object]:
    return {
        "address": address,
        "requested": asdict(live.plan.requested),
        "effective": asdict(live.plan.effective),
        "evidence": live.evidence,
        "warnings": [asdict(notice) for notice in live.plan.notices],
        "epoch": live.epoch,
    }
