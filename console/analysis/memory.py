"""Whether the resident memory (RSS) of two runs can be compared: each engine process must have served one deployment.

A process keeps memory of the deployments that it has served before: libraries, allocator caches. The engine counts its
deployments as epochs, and every response carries the epoch.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from console.load.protocol import Interval


def deployments_before(intervals: Iterable[Interval], engine_epoch: int = 0) -> int | None:
    """Returns how many deployments the engine process had served before the measured one; None if it is not known.

    The epochs of the answers decide; without answers, the engine's epoch.
    """
    epochs = [int(epoch) for interval in intervals for epoch in interval.epochs]
    newest = max(epochs, default=engine_epoch)
    return newest - 1 if newest else None


def recorded_deployments_before(report: Mapping[str, Any] | None, intervals: Iterable[Interval]) -> int | None:
    """Returns the number from a stored report; for an older one, which lacks it, from the run's intervals."""
    recorded = ((report or {}).get("server") or {}).get("deployments_before")
    return int(recorded) if recorded is not None else deployments_before(intervals)


def memory_note(before: int | None) -> str:
    """Returns what the RSS of a run also contains; empty for the first deployment of a process, or if not known."""
    if not before:
        return ""
    return f"after {before} other deployment{'s' if before != 1 else ''} in this process"
