"""Short names of a run's cell and load."""

from console.model.engine import Deployment
from console.store.read import RunRow


def cell_name(requested: Deployment, effective: Deployment) -> str:
    """Returns the cell that ran, with the requested cell before it if they differ: `torch·fp16 → torch·fp32`."""
    fell_back = requested.cell and (requested.backend, requested.precision) != (effective.backend, effective.precision)
    if not effective.cell:
        return requested.cell or "–"
    return f"{requested.cell} → {effective.cell}" if fell_back else effective.cell


def load_name(row: RunRow) -> str:
    """Returns batch × concurrency, for example `32 × 4`, and every setting that differs from its default."""
    plain = f"{row.batch} × {row.concurrency}" if not row.rate else f"{row.batch} at {row.rate:g}/s"
    not_default = (
        row.workload if row.workload != "texts" else "",
        row.corpus if row.corpus != "short" else "",
        "stream" if row.stream else "",
        "" if row.coalesce else "no coalescing",
    )
    return ", ".join(part for part in (plain, *not_default) if part)
