"""Which runs were measured in an engine process that had served another deployment before. Pure functions.

A process keeps some of the memory of what it had loaded, so the RSS of such a run says little about its deployment.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from console.store.read import RunRow

if TYPE_CHECKING:
    from console.model.engine import Deployment

SHARED = "rss_shared_process"
"""Field of `server` in the object of `run --json`: whether the engine's process had served another deployment."""


def shared_process_runs(rows: Iterable[RunRow]) -> frozenset[str]:
    """Returns the ids of the runs of a sweep that began after another deployment of the same sweep was live.

    A sweep measures on one engine that it switches. An engine that is started again in between is not known here: its
    runs count as if it had gone on.
    """
    live: dict[str, set[Deployment]] = {}
    shared = set()
    for row in sorted((row for row in rows if row.sweep_id), key=lambda row: row.started_at):
        ran = row.effective if row.effective.cell else row.requested
        deployments = live.setdefault(row.sweep_id, set())
        deployments.add(ran)
        if len(deployments) > 1:
            shared.add(row.run_id)
    return frozenset(shared)


def measured_in_shared_process(run_id: str, report: Mapping[str, Any], shared: frozenset[str]) -> bool:
    """Whether the run's RSS holds memory of another deployment: as its report says, else by the order of its sweep."""
    said = (report.get("server") or {}).get(SHARED)
    return run_id in shared if said is None else bool(said)
