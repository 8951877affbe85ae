"""The load generator's ceiling: its highest request rate against a null server, cached per environment.

An engine that was measured near this ceiling may be faster than the measurement shows.
"""

import asyncio
import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from console.load.protocol import Event, Interval, Start, Stop, Stopped
from console.measure.cleanup import run_to_completion
from console.model.load import LoadSpec
from console.session.child_process import Child, ChildGone
from console.session.driver_process import DriverProcess

DEFAULT_DIM = 384
"""Dimension of the bundled model's vectors."""
OPEN_LOOP_CONCURRENCY = 32
"""Concurrency of the closed loop that measures the ceiling of an open loop."""
_WARM_UP_INTERVALS = 1
_MEASURED_INTERVALS = 2
_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 2.0
P = TypeVar("P")


class CalibrationFailed(Exception):
    """The load generator or the null server failed; the message says how."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the load generator reaches at one load shape on this machine if the engine costs nothing."""

    requests_per_s: float
    cpu_us_per_request: float

    def share(self, requests_per_s: float) -> float:
        """Returns the given rate as a share of the ceiling; 1 is the ceiling."""
        return requests_per_s / self.requests_per_s


def shape_of(load: LoadSpec, dim: int) -> str:
    """Returns the cache key of a load shape. `dim` is the dimension of the vectors."""
    concurrency = OPEN_LOOP_CONCURRENCY if load.is_open else load.concurrency
    method = "stream" if load.stream else "unary"
    return f"{load.workload} {method} batch {load.batch} concurrency {concurrency} dim {dim}"


def ceiling_of(intervals: Sequence[Interval]) -> Ceiling:
    """Returns the ceiling that the intervals show. Raises CalibrationFailed if no request was answered."""
    requests = sum(interval.answers.requests for interval in intervals)
    if not requests:
        raise CalibrationFailed("the null server answered nothing")
    duration_s = sum(interval.duration_s for interval in intervals)
    cpu_s = sum(interval.cpu_cores * interval.duration_s for interval in intervals)
    return Ceiling(requests / duration_s, cpu_s / requests * 1e6)


async def measure_ceiling(load: LoadSpec, dim: int = DEFAULT_DIM) -> Ceiling:
    """Measures the ceiling at one load shape, in about four seconds. Raises CalibrationFailed."""
    concurrency = OPEN_LOOP_CONCURRENCY if load.is_open else load.concurrency
    spec = replace(load, rate=0.0, ramp_s=0.0, concurrency=concurrency, corpus="short")
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    intervals: asyncio.Queue[Interval | None] = asyncio.Queue()

    def on_address(line: bytes) -> None:
        if not address.done():
            address.set_result(json.loads(line)["address"])

    def on_event(event: Event) -> None:
        if isinstance(event, Interval):
            intervals.put_nowait(event)
        elif isinstance(event, Stopped):
            intervals.put_nowait(None)

    driver = DriverProcess(on_event, lambda _level, _text: None, lambda _code: intervals.put_nowait(None))
    async with AsyncExitStack() as cleanup:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await asyncio.shield(
                    _start_process(_start_null_server(load.batch, dim, on_address), Child.stop, cleanup)
                )
                await asyncio.shield(_start_process(_start_driver(driver), DriverProcess.stop, cleanup))
                driver.send(Start(await address, spec))
                received = [await intervals.get() for _ in range(_WARM_UP_INTERVALS + _MEASURED_INTERVALS)]
                driver.send(Stop())
        except (OSError, ChildGone, TimeoutError) as error:
            reason = error or type(error).__name__
            raise CalibrationFailed(f"the load generator could not be calibrated: {reason}") from error
    return ceiling_of([interval for interval in received[_WARM_UP_INTERVALS:] if interval is not None])


async def _start_null_server(batch: int, dim: int, on_address: Callable[[bytes], None]) -> Child:
    return await Child.start(
        (sys.executable, "-m", "console.load.null_server", str(batch), str(dim)),
        on_stdout=on_address,
        on_stderr=lambda _line: None,
        on_exit=lambda _code: None,
    )


async def _start_driver(driver: DriverProcess) -> DriverProcess:
    await driver.start()
    return driver


def _start_process(
    start: Coroutine[Any, Any, P], stop: Callable[[P, float], Awaitable[None]], cleanup: AsyncExitStack
) -> "asyncio.Task[P]":
    """Starts a process that `cleanup` stops, even if the caller is cancelled before the process has started."""
    starting = asyncio.create_task(start)

    async def end() -> None:
        await asyncio.wait({starting})
        if not starting.cancelled() and starting.exception() is None:
            await stop(starting.result(), _STOP_TIMEOUT_S)

    cleanup.push_async_callback(lambda: run_to_completion(end()))
    return starting


class Ceilings:
    """The ceilings measured in this environment, in the user's cache. Writers may race: a lost entry costs seconds."""

    def __init__(self, folder: Path | None = None) -> None:
        self._path = (folder or _cache_folder()) / "driver-ceilings" / f"{_environment_hash()}.json"

    def known(self, load: LoadSpec, dim: int = DEFAULT_DIM) -> Ceiling | None:
        """Returns the cached ceiling, or None if it has not been measured in this environment."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            return Ceiling(**self._read()[shape_of(load, dim)])
        return None

    def keep(self, load: LoadSpec, ceiling: Ceiling, dim: int = DEFAULT_DIM) -> None:
        """Caches the ceiling unless a higher one is cached; does nothing if the cache cannot be written."""
        before = self.known(load, dim)
        if before is not None and before.requests_per_s >= ceiling.requests_per_s:
            return
        ceilings: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            ceilings = self._read()
        ceilings[shape_of(load, dim)] = asdict(ceiling)
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".ceilings-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(ceilings, file, indent=1, sort_keys=True)
            Path(temporary).replace(self._path)

    def _read(self) -> dict[str, Any]:
        content = json.loads(self._path.read_text("utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"{self._path} does not contain a JSON object")
        return content


def _cache_folder() -> Path:
    override = os.environ.get("EMBEDCONSOLE_CACHE")
    return Path(override).expanduser().absolute() if override else Path(platformdirs.user_cache_dir("embedconsole"))


def _environment_hash() -> str:
    """Returns the hash of what the load generator's speed depends on: machine, usable cores, Python, libraries."""
    packages = []
    for name in ("embedconsole", "grpcio", "protobuf", "hdrhistogram", "uvloop"):
        with suppress(PackageNotFoundError):
            packages.append(f"{name} {version(name)}")
    facts = (platform.platform(), platform.machine(), _cpu_model(), _cores(), platform.python_version(), *packages)
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:16]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
