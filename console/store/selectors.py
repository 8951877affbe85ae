"""Selectors: a name on the command line that selects one run, the runs of a sweep, or the runs with a tag."""

from dataclasses import dataclass

from console.model.verdicts import NOT_ENDED
from console.store.database import Store, StoreError
from console.store.read import (
    LAST,
    LAST_SWEEP,
    LEAST_CHARACTERS,
    RunFilter,
    RunRow,
    StoredRun,
    list_runs,
    load_run,
    resolve_run,
)
from console.store.schema import SWEEP

_LEAST = f"; write at least {LEAST_CHARACTERS} characters of the id"


@dataclass(frozen=True, slots=True)
class Selection:
    """The runs that a selector selects, oldest first."""

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


def resolve_selector(store: Store, name: str) -> Selection:
    """Returns the runs of a selector: `last`, `last-sweep`, a run's id, a sweep's id or name, a tag, or part of an id.

    Sweeps and tags give only the runs that have ended. Raises StoreError if the name matches nothing or several runs.
    """
    if name != LAST:
        if sweep_id := find_sweep(store, name):
            return Selection(sweep_id, "sweep", _ended(store, RunFilter(sweep=sweep_id), f"sweep {sweep_id}"))
        if list_runs(store, RunFilter(tag=name, limit=1)):
            return Selection(name, "tag", _ended(store, RunFilter(tag=name), f"tag {name}"))
    try:
        run_id = resolve_run(store, name)
    except StoreError as error:
        if not str(error).startswith("no run "):
            raise
        raise StoreError(
            f"no run, sweep or tag {name!r} in {store.path}: `embedconsole runs` lists runs and tags, `embedconsole"
            f" runs sweeps` lists sweeps{_LEAST if len(name) < LEAST_CHARACTERS else ''}"
        ) from error
    return Selection(run_id, "run", tuple(list_runs(store, RunFilter(run_id=run_id))))


def load_selection(store: Store, selection: Selection) -> tuple[StoredRun, ...]:
    """Returns the complete runs of a selection, with intervals and reports. Raises StoreError."""
    return tuple(load_run(store, row.run_id) for row in selection.rows)


def _ended(store: Store, matching: RunFilter, title: str) -> tuple[RunRow, ...]:
    rows = [row for row in reversed(list_runs(store, matching)) if row.verdict not in NOT_ENDED]
    if not rows:
        raise StoreError(f"{title} has no run that has ended: wait for one, or continue with `sweep --resume`")
    return tuple(rows)


def find_sweep(store: Store, name: str) -> str:
    """Returns the id of a sweep by `last-sweep`, its id, its name (the newest) or part of its id; empty if none.

    `last-sweep` is the newest with a run, and never a search or a live comparison. A part of an id has at least
    LEAST_CHARACTERS. Raises StoreError if there is no last sweep.
    """
    with store.reading() as connection:
        if name == LAST_SWEEP:
            rows = connection.execute(
                "SELECT id FROM sweep WHERE kind = ? AND EXISTS (SELECT 1 FROM run WHERE sweep_id = sweep.id)"
                " ORDER BY started_at DESC, rowid DESC LIMIT 1",
                (SWEEP,),
            ).fetchall()
            if not rows:
                raise StoreError(f"the store {store.path} has no sweep yet: record one with `embedconsole sweep`")
            return str(rows[0]["id"])
        rows = connection.execute(
            "SELECT id FROM sweep WHERE id = :name OR name = :name ORDER BY id = :name DESC, started_at DESC LIMIT 1",
            {"name": name},
        ).fetchall()
        if not rows and len(name) >= LEAST_CHARACTERS:
            rows = connection.execute(
                "SELECT id FROM sweep WHERE substr(id, 1, length(:name)) = :name OR substr(id, -length(:name)) = :name",
                {"name": name},
            ).fetchall()
    return str(rows[0]["id"]) if len(rows) == 1 else ""
