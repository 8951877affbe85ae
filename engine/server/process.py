"""An engine process: bind, build the first deployment, serve, drain, exit."""

import asyncio
import ipaddress
import os
import signal
import time
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
from engine.deployment.switch import Deployments
from engine.deployment.target import SwitchStep, Target
from engine.doors.embed_v1.control import Control
from engine.doors.embed_v1.embedder import Embedder
from engine.doors.inbound import InboundMemory
from engine.doors.limits import EngineLimits
from engine.doors.registration import add_servicer
from engine.errors import EngineError
from engine.host.memory import trim_heap
from engine.host.reporting import Reporter
from engine.pipeline.embedding import EmbeddingPipeline
from engine.pipeline.metrics import Telemetry
from engine.scheduling import Admission
from engine.server.gc_policy import collect_when_idle, freeze_start_up_objects
from engine.server.health import HealthPublisher
from engine.server.lifeline import Lifeline, is_pipe_or_socket
from engine.server.memory_policy import trim_after_growth
from engine.server.observations import record_load_cosine, record_peak_throughput
from engine.server.signals import not_ignored
from engine.tuning.plan import BatchOverrides

EXIT_GRACE_S = 30.0
"""How long requests in flight may take after a signal to end, in seconds. Chosen."""

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


class EngineServer:
    """The engine's gRPC server, from bind to exit."""

    def __init__(self, options: ServeOptions, reporter: Reporter) -> None:
        self._options = options
        self._reporter = reporter
        self._stopping = asyncio.Event()
        self._grace_s: float | None = EXIT_GRACE_S
        self._drain_task: asyncio.Task[tuple[int, int]] | None = None
        self._telemetry = Telemetry()
        limits = options.limits
        self._deployments = Deployments(
            this_platform(), ArtifactStore.default(), self._telemetry, options.batching, calibration=options.calibration
        )
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

    async def run(self) -> None:
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
            await Lifeline.attach(self._reporter, self._stopping.set)
        starting = asyncio.create_task(self._start(address))
        stopping = asyncio.create_task(self._stopping.wait())
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
            await self._server.stop(grace=1.0)
            await self._deployments.close()
            self._pipeline.close()
            self._reporter.log("info", "ended")

    async def _serve(self, stopping: "asyncio.Task[Literal[True]]") -> None:
        """Serves from the ready line until the last request is answered."""
        telemetry, counts = self._telemetry, self._telemetry.counts
        background = [
            asyncio.create_task(record_peak_throughput(self._deployments, lambda: counts.texts, telemetry.now_s)),
            asyncio.create_task(collect_when_idle(lambda: telemetry.in_flight_requests, lambda: counts.ended)),
            asyncio.create_task(trim_after_growth(lambda: telemetry.process_usage()[0], trim_heap)),
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
            os._exit(1)
        self._reporter.log("info", f"{number.name}: draining for at most {EXIT_GRACE_S:.0f} s; a second one exits now")
        self._stopping.set()

    async def _drain_on_request(self, grace_s: float | None) -> tuple[int, int]:
        self._grace_s = grace_s
        result = await self._drain()
        # The response of Drain itself is sent after this: the grace period of `server.stop` waits for it.
        self._stopping.set()
        return result

    async def _drain(self) -> tuple[int, int]:
        """Drains once. Returns (requests answered while draining, requests unanswered after the grace period)."""
        if self._drain_task is None:
            self._drain_task = asyncio.create_task(self._drain_once())
        return await asyncio.shield(self._drain_task)

    async def _drain_once(self) -> tuple[int, int]:
        await self._health.shut_down()
        before = self._telemetry.counts.requests
        started_s = time.monotonic()
        try:
            await asyncio.wait_for(self._pipeline.drain(), self._grace_s)
        except TimeoutError:
            self._reporter.log(
                "warning", f"{self._telemetry.in_flight_requests} requests unanswered at the end of the grace period"
            )
        answered = self._telemetry.counts.requests - before
        self._reporter.log("info", f"drained {answered} requests in {time.monotonic() - started_s:.2f} s")
        return answered, self._telemetry.in_flight_requests


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
