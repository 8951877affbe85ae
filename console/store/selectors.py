"""What a name on the command line stands for: one run, all runs of a sweep, or all that carry a tag."""

from dataclasses import dataclass

from console.store.database import Store, StoreError
from console.store.read import LAST, UNFINISHED, RunFilter, RunRow, StoredRun, list_runs, load_run, resolve_run

LAST_SWEEP = "last-sweep"


@dataclass(frozen=True, slots=True)
class RunSet:
    """Runs under one name, oldest first."""

    name: str
    kind: str
    """`run`, `sweep` or `tag`."""
    rows: tuple[RunRow, ...]

    @property
    def title(self) -> str:
        """`run r-1`, `sweep s-1 (8 runs)`, `tag main (3 runs)`."""
        if self.kind == "run":
            return f"run {self.name}"
        count = len(self.rows)
        return f"{self.kind} {self.name} ({count} run{'s' if count != 1 else ''})"


def resolve_set(store: Store, name: str) -> RunSet:
    """`last`, `last-sweep`, a run's id, a sweep's id or name, a tag, or a part of an id that stands for one thing.

    Runs without an end are left out of sweeps and tags. Raises StoreError.
    """
    if name != LAST:
        if sweep_id := find_sweep(store, name):
            return RunSet(sweep_id, "sweep", _ended(store, RunFilter(sweep=sweep_id), f"sweep {sweep_id}"))
        if list_runs(store, RunFilter(tag=name, limit=1)):
            return RunSet(name, "tag", _ended(store, RunFilter(tag=name), f"tag {name}"))
    try:
        run_id = resolve_run(store, name)
    except StoreError as error:
        if "several" in str(error) or name == LAST:
            raise
        raise StoreError(
            f"nothing in {store.path} is called {name!r}: `embedconsole runs` lists runs and tags, `embedconsole runs"
            " sweeps` sweeps"
        ) from error
    return RunSet(run_id, "run", tuple(list_runs(store, RunFilter(run_id=run_id))))


def load_set(store: Store, runs: RunSet) -> tuple[StoredRun, ...]:
    """With their intervals and reports. Raises StoreError."""
    return tuple(load_run(store, row.run_id) for row in runs.rows)


def _ended(store: Store, wanted: RunFilter, what: str) -> tuple[RunRow, ...]:
    rows = [row for row in reversed(list_runs(store, wanted)) if row.verdict != UNFINISHED]
    if not rows:
        raise StoreError(f"{what} holds no run that has ended: wait for it, or go on with `sweep --resume`")
    return tuple(rows)


def find_sweep(store: Store, name: str) -> str:
    """The id of the sweep that is meant, empty when none is. A name stands for the newest sweep of that name."""
    with store.reading() as connection:
        if name == LAST_SWEEP:
            found = connection.execute("SELECT id FROM sweep ORDER BY started_at DESC, rowid DESC LIMIT 1").fetchall()
            if not found:
                raise StoreError(f"the store {store.path} holds no sweep yet: make one with `embedconsole sweep`")
            return str(found[0]["id"])
        found = connection.execute(
            "SELECT id FROM sweep WHERE id = :name OR name = :name ORDER BY id = :name DESC, started_at DESC LIMIT 1",
            {"name": name},
        ).fetchall()
        found = (
            found
            or connection.execute(
                "SELECT id FROM sweep WHERE substr(id, 1, length(:name)) = :name OR substr(id, -length(:name)) = :name",
                {"name": name},
            ).fetchall()
        )
    return str(found[0]["id"]) if len(found) == 1 else ""
