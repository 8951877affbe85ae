"""Which points of a sweep an earlier part of it has measured: the same point, knobs and inherited deployment."""

from collections.abc import Sequence

from console.model.engine import Deployment, Engine
from console.store.database import Store
from console.store.read import UNFINISHED, RunFilter, RunRow, list_runs
from console.sweep.point import SweepPoint


def measured_points(
    store: Store, sweep_id: str, points: Sequence[SweepPoint], found: Engine | None = None
) -> dict[str, RunRow]:
    """Returns the newest run of each measured point, by the point's hash. Raises StoreError.

    A run counts if it ended, did not fail, was not interrupted, and was measured under the point's knobs. `found` is
    the engine before the sweep: a run on another deployment than the inherited one does not count.
    """
    by_hash = {point.hash: point for point in points}
    measured: dict[str, RunRow] = {}
    for row in reversed(list_runs(store, RunFilter(sweep=sweep_id))):
        point = by_hash.get(row.cell_hash)
        if point is None or row.interrupted or row.verdict in (UNFINISHED, "failed"):
            continue
        if _has_knobs_of(point, row) and (found is None or inherits_from(point, row.effective, found)):
            measured[point.hash] = row
    return measured


def _has_knobs_of(point: SweepPoint, row: RunRow) -> bool:
    """Whether a run had the point's batching settings. A bound that the point does not name is the plan's."""
    return (
        bool(row.coalesce) is (point.coalesce is not False)
        and row.max_wait_ms == (point.max_wait_ms or 0.0)
        and (point.max_batch_tokens is None or row.max_batch_tokens == point.max_batch_tokens)
    )


def inherits_from(point: SweepPoint, effective: Deployment, found: Engine) -> bool:
    """Whether a run on `effective` had what the point inherits from the engine that was found before the sweep.

    A point without any deployment inherits all of it. An unknown value agrees with every value.
    """
    names = {"model", "device"}
    if point.target == Deployment():
        names |= {"backend", "precision", "recipe", "instances", "threads"}
    elif not point.target.backend or not point.target.precision:
        names |= {"backend", "precision"}
    before = found.effective
    return all(
        getattr(point.target, name)
        or getattr(before, name) == getattr(effective, name)
        or not getattr(before, name)
        or not getattr(effective, name)
        for name in names
    )
