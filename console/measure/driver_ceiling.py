"""The load driver's own ceiling: the real driver process against a server that does nothing, known per environment.

An engine measured near that ceiling may be faster than it looked.
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
from console.measure.cleanup import carry_out
from console.model.load import LoadSpec
from console.session.child_process import Child, ChildGone
from console.session.driver_process import DriverProcess

USUAL_DIM = 384
"""Of the bundled model's vectors."""
OPEN_LOOP_CONCURRENCY = 32
"""An open loop's ceiling is taken with so many callers in a closed one."""
_WARM_UP_INTERVALS = 1
_MEASURED_INTERVALS = 2
_PATIENCE_S = 15.0
_STOP_PATIENCE_S = 2.0
P = TypeVar("P")


class CalibrationFailed(Exception):
    """The driver or the null server did not do its part; the message says what."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the driver can do at one shape of load on this machine, when the engine costs nothing."""

    requests_per_s: float
    cpu_us_per_request: float

    def share(self, requests_per_s: float) -> float:
        """How near so many requests a second are to it, 0..1."""
        return requests_per_s / self.requests_per_s


def shape_of(load: LoadSpec, dim: int) -> str:
    """What the ceiling depends on, besides the environment. `dim`: of the vectors."""
    callers = OPEN_LOOP_CONCURRENCY if load.is_open else load.concurrency
    how = "stream" if load.stream else "unary"
    return f"{load.workload} {how} batch {load.batch} concurrency {callers} dim {dim}"


def ceiling_of(intervals: Sequence[Interval]) -> Ceiling:
    """Raises CalibrationFailed where nothing was answered."""
    requests = sum(interval.answers.requests for interval in intervals)
    if not requests:
        raise CalibrationFailed("the null server answered nothing")
    duration_s = sum(interval.duration_s for interval in intervals)
    cpu_s = sum(interval.cpu_cores * interval.duration_s for interval in intervals)
    return Ceiling(requests / duration_s, cpu_s / requests * 1e6)


async def measure_ceiling(load: LoadSpec, dim: int = USUAL_DIM) -> Ceiling:
    """About four seconds. Raises CalibrationFailed."""
    callers = OPEN_LOOP_CONCURRENCY if load.is_open else load.concurrency
    spec = replace(load, rate=0.0, ramp_s=0.0, concurrency=callers, corpus="short")
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
    async with AsyncExitStack() as ends:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.shield(_started(_start_null_server(load.batch, dim, on_address), Child.stop, ends))
                await asyncio.shield(_started(_start(driver), DriverProcess.stop, ends))
                driver.send(Start(await address, spec))
                heard = [await intervals.get() for _ in range(_WARM_UP_INTERVALS + _MEASURED_INTERVALS)]
                driver.send(Stop())
        except (OSError, ChildGone, TimeoutError) as error:
            raise CalibrationFailed(f"the driver could not be calibrated: {error or type(error).__name__}") from error
    return ceiling_of([interval for interval in heard[_WARM_UP_INTERVALS:] if interval is not None])


async def _start_null_server(batch: int, dim: int, on_address: Callable[[bytes], None]) -> Child:
    return await Child.start(
        (sys.executable, "-m", "console.load.null_server", str(batch), str(dim)),
        on_stdout=on_address,
        on_stderr=lambda _line: None,
        on_exit=lambda _code: None,
    )


async def _start(driver: DriverProcess) -> DriverProcess:
    await driver.start()
    return driver


def _started(
    start: Coroutine[Any, Any, P], stop: Callable[[P, float], Awaitable[None]], ends: AsyncExitStack
) -> "asyncio.Task[P]":
    """A process on its way, which ends with `ends`: also where nobody waited until it had started."""
    starting = asyncio.create_task(start)

    async def end() -> None:
        await asyncio.wait({starting})
        if not starting.cancelled() and starting.exception() is None:
            await stop(starting.result(), _STOP_PATIENCE_S)

    ends.push_async_callback(lambda: carry_out(end()))
    return starting


class Ceilings:
    """Those measured in this environment, kept in the user's cache. Losing them costs seconds, so writers may race."""

    def __init__(self, folder: Path | None = None) -> None:
        self._path = (folder or _cache_folder()) / "driver-ceilings" / f"{_environment_hash()}.json"

    def known(self, load: LoadSpec, dim: int = USUAL_DIM) -> Ceiling | None:
        """None where it has not been measured here."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            return Ceiling(**self._read()[shape_of(load, dim)])
        return None

    def keep(self, load: LoadSpec, ceiling: Ceiling, dim: int = USUAL_DIM) -> None:
        """Remembers it, where the cache can be written. A ceiling is the most that was seen: a lower one is dropped."""
        before = self.known(load, dim)
        if before is not None and before.requests_per_s >= ceiling.requests_per_s:
            return
        found: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            found = self._read()
        found[shape_of(load, dim)] = asdict(ceiling)
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".ceilings-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(found, file, indent=1, sort_keys=True)
            Path(temporary).replace(self._path)

    def _read(self) -> dict[str, Any]:
        found = json.loads(self._path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise TypeError(f"{self._path} holds no object")
        return found


def _cache_folder() -> Path:
    override = os.environ.get("EMBEDCONSOLE_CACHE")
    return Path(override).expanduser().absolute() if override else Path(platformdirs.user_cache_dir("embedconsole"))


def _environment_hash() -> str:
    """Of what the driver's speed depends on: machine, cores it may use, Python and the libraries on its path."""
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
