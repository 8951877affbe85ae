"""Whether the process that measures a run still does: by its process id on this host, and by its heartbeat.

A recorder writes its host, its process id, and with every interval a heartbeat. A run is running while its process
exists and the heartbeat is recent. The heartbeat guards against a process id that was used again, and is all there is
to know of another host.
"""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

HEARTBEAT_TIMEOUT_S = 30.0
"""A heartbeat is written with every interval, about once a second. A locked store delays it by a few seconds."""


def process_exists(pid: int) -> bool:
    """Whether the process exists on this host and has not ended. A process that was not waited for has ended."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


@dataclass(frozen=True, slots=True)
class Liveness:
    """What a reader of the store knows of the processes that write it."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    host: str = platform.node()
    process_exists: Callable[[int], bool] = process_exists


def utc_now() -> str:
    """Returns the current time as ISO 8601 with milliseconds, the format of all times in the store."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def this_writer() -> tuple[str, int]:
    """Returns host and process id of this process, for the runs that it records."""
    return platform.node(), os.getpid()


def is_running(host: str, pid: int, heartbeat_at: str, seen: Liveness) -> bool:
    """Whether a run without an end is still measured. `heartbeat_at` is ISO 8601; empty: not known."""
    try:
        age_s = abs((seen.now() - datetime.fromisoformat(heartbeat_at)).total_seconds())
    except (ValueError, TypeError):  # written by an older version, or a time without a zone
        return False
    return age_s <= HEARTBEAT_TIMEOUT_S and (host != seen.host or seen.process_exists(pid))
