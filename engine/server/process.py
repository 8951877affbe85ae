"""The life of an engine process: bind, build the first deployment, serve, drain, exit."""

import asyncio
import ipaddress
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from typing import Literal

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from engine.api import embed_pb2_grpc
from engine.artifacts.calibration import Calibration
from engine.artifacts.store import ArtifactStore
from engine.capabilities.platform import this_platform
from engine.deployment.live import LiveDeployment
from engine.deployment.switch import Deployments
from engine.deployment.target import SwitchStep, Target
from engine.doors.embed_v1.control import Control
from engine.doors.embed_v1.embedder import Embedder
from engine.errors import EngineError
from engine.host.reporting import Reporter
from engine.pipeline.embedding import RequestLimits, Serving
from engine.pipeline.metrics import Telemetry
from engine.scheduling import Admission, AdmissionLimits
from engine.server.gc_policy import collect_quietly, freeze_start_up_objects
from engine.server.health import PublishedHealth
from engine.server.lifeline import Lifeline
from engine.server.observations import record_load_cosine, record_peaks
from engine.tuning.plan import BatchOverrides

EXIT_GRACE_S = 30.0
"""How long requests in hand may take once the process was told to end."""

MESSAGE_BYTES = 32 * 1024 * 1024
"""Above the limits of a request, so that an oversize one gets our sentence rather than the transport's."""

SERVICES = ("embed.v1.Embedder", "embed.v1.Control")


class CannotStart(EngineError):
    """The engine cannot serve; the message says why, `fix` what to do."""

    def __init__(self, code: str, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.fix = fix


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """`engine serve`'s flags."""

    host: str = "127.0.0.1"
    port: int = 50051
    target: Target = field(default_factory=Target)
    strict: bool = False
    batching: BatchOverrides = field(default_factory=BatchOverrides)
    tune: bool = False
    """Measure how to run the cell, if that was never done here."""
    calibration: Calibration | None = None
    """The user's own texts for recipes that calibrate."""


class EngineServer:
    """One server from bind to exit."""

    def __init__(self, options: ServeOptions, reporter: Reporter) -> None:
        self._options = options
        self._reporter = reporter
        self._stopping = asyncio.Event()
        self._grace_s: float | None = EXIT_GRACE_S
        self._drained: asyncio.Task[tuple[int, int]] | None = None
        self._telemetry = Telemetry()
        admission_limits = AdmissionLimits()
        self._deployments = Deployments(
            this_platform(), ArtifactStore.default(), self._telemetry, options.batching, calibration=options.calibration
        )
        self._serving = Serving(self._deployments, Admission(admission_limits), self._telemetry, RequestLimits())
        self._health = PublishedHealth(self._deployments.readiness, SERVICES)
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # else a second engine would silently share the port
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_send_message_length", MESSAGE_BYTES),
            ]
        )
        embed_pb2_grpc.add_EmbedderServicer_to_server(Embedder(self._serving), self._server)
        control = Control(self._serving, admission_limits, self._drain_on_request)
        embed_pb2_grpc.add_ControlServicer_to_server(control, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self._server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def run(self) -> None:
        """Serves until told to end, then drains. Raises CannotStart, or what the first deployment raised.

        Told to end while it starts, it goes no further, answers what it may have taken, and frees what it has made.
        """
        address = self._bind()
        self._listen_for_the_end()
        await Lifeline.hold(self._reporter, self._stopping.set)
        starting = asyncio.create_task(self._start(address))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                await self._serve(stopping)
            else:
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)  # why it failed meanwhile matters no more
                await self._drain()
        finally:
            stopping.cancel()
            await self._server.stop(grace=1.0)
            await self._deployments.close()
            self._serving.close()
            self._reporter.log("info", "ended")

    async def _serve(self, stopping: "asyncio.Task[Literal[True]]") -> None:
        """From the ready line until the last request is answered."""
        telemetry, counts = self._telemetry, self._telemetry.counts
        beside = [
            asyncio.create_task(record_peaks(self._deployments, lambda: counts.texts, telemetry.now_s)),
            asyncio.create_task(collect_quietly(lambda: telemetry.in_flight_requests, lambda: counts.ended)),
        ]
        await stopping
        await self._drain()
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)

    def _bind(self) -> str:
        host, port = self._options.host, self._options.port
        shown = f"[{host}]" if ":" in host else host
        try:
            bound = self._server.add_insecure_port(f"{shown}:{port}")
        except RuntimeError as error:
            raise CannotStart(
                "cannot_bind",
                f"cannot listen on {shown}:{port}: the port is in use, or the address is not this machine's",
                "choose another --port (0 picks a free one) or stop what uses it",
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
            self._reporter.log("warning", f"{address} is reachable from other machines, and asks nobody who they are")
        await asyncio.to_thread(record_load_cosine, self._deployments, live)
        for notice in live.plan.notices:
            self._reporter.log("warning", notice.message)
        self._reporter.data("ready", **_ready(address, live))

    def _report_step(self, step: SwitchStep) -> None:
        self._reporter.phase(
            step.state.name.lower(), step.message, round(step.progress * 100), 100 if step.progress else 0
        )

    def _listen_for_the_end(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            self._reporter.log("warning", f"{number.name} again: ending now, without waiting for requests")
            os._exit(1)
        self._reporter.log("info", f"{number.name}: draining, at most {EXIT_GRACE_S:.0f} s; once more ends at once")
        self._stopping.set()

    async def _drain_on_request(self, grace_s: float | None) -> tuple[int, int]:
        self._grace_s = grace_s
        result = await self._drain()
        # The answer to Drain itself must leave first: the server's own grace waits for it.
        self._stopping.set()
        return result

    async def _drain(self) -> tuple[int, int]:
        """(requests answered while draining, requests abandoned at the end of the grace)."""
        if self._drained is None:
            self._drained = asyncio.create_task(self._drain_once())
        return await asyncio.shield(self._drained)

    async def _drain_once(self) -> tuple[int, int]:
        await self._health.shut_down()
        before = self._telemetry.counts.requests
        started_s = time.monotonic()
        try:
            await asyncio.wait_for(self._serving.drain(), self._grace_s)
        except TimeoutError:
            self._reporter.log("warning", f"{self._telemetry.in_flight_requests} requests outlived the grace")
        answered = self._telemetry.counts.requests - before
        self._reporter.log("info", f"drained {answered} requests in {time.monotonic() - started_s:.2f} s")
        return answered, self._telemetry.in_flight_requests


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
