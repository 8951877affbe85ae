"""The throughput of deployments from the store: under one load, and the newest under another. Pure functions.

Only figures of the same load, knobs, model and machine may stand beside each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from console.model.engine import Batching, Deployment
from console.model.load import LoadSpec
from console.model.recording import LIVE
from console.store.labels import load_name
from console.store.read import RunRow


@dataclass(frozen=True, slots=True)
class CellThroughput:
    """A measured throughput with its load, date and run."""

    run_id: str
    started_at: str
    """ISO 8601 in UTC."""
    load: str
    texts_per_s: float
    p95_ms: float | None
    steady: bool

    @classmethod
    def of(cls, row: RunRow) -> "CellThroughput":
        """Returns the figures of a run that has a throughput."""
        return cls(
            row.run_id, row.started_at, load_name(row), row.texts_per_s or 0.0, row.p95_ms, bool(row.throughput_stable)
        )


Cell = tuple[str, str, str, str]
"""Backend, precision, recipe, device."""


@dataclass(frozen=True, slots=True)
class MeasuredCells:
    """The newest throughput of each cell: `alike` under the asked load, `other` under another one."""

    load: str
    alike: dict[Cell, CellThroughput] = field(default_factory=dict)
    other: dict[Cell, CellThroughput] = field(default_factory=dict)


def cell_of(deployment: Deployment) -> Cell:
    """Returns the key of a deployment's cell."""
    return deployment.backend, deployment.precision, deployment.recipe, deployment.device


def measured_cells(rows: Iterable[RunRow], model: str, load: LoadSpec, batching: Batching) -> MeasuredCells:
    """Returns the throughput of each cell of a model. `rows` are runs of one machine, newest first."""
    found = MeasuredCells(_load_text(load, coalesce=batching.coalesce))
    for row in rows:
        if row.model != model or row.origin == LIVE or row.interrupted:  # a Live run may hold several deployments
            continue
        if row.texts_per_s is None or row.verdict not in ("ok", "unstable", "too_short"):
            continue
        is_alike = _load_of(row) == _asked(load, batching)
        (found.alike if is_alike else found.other).setdefault(cell_of(row.effective), CellThroughput.of(row))
    return found


def _load_of(row: RunRow) -> tuple[object, ...]:
    loop = (row.rate,) if row.rate else (0.0, row.concurrency)
    return (row.batch, row.workload, row.corpus, bool(row.stream), bool(row.coalesce), row.max_wait_ms, *loop)


def _asked(load: LoadSpec, batching: Batching) -> tuple[object, ...]:
    loop = (load.rate,) if load.is_open else (0.0, load.concurrency)
    return (load.batch, load.workload, load.corpus, load.stream, batching.coalesce, batching.max_wait_ms, *loop)


def _load_text(load: LoadSpec, *, coalesce: bool) -> str:
    parts = (
        f"{load.batch} at {load.rate:g}/s" if load.is_open else f"{load.batch} × {load.concurrency}",
        load.workload if load.workload != "texts" else "",
        load.corpus if load.corpus != "short" else "",
        "stream" if load.stream else "",
        "" if coalesce else "no coalescing",
    )
    return ", ".join(part for part in parts if part)
