"""Builds a report from the store in one of the formats of RENDERERS."""

from collections.abc import Callable, Sequence

from console.report.data import as_csv, as_json
from console.report.document import document
from console.report.html import as_html
from console.report.md import as_markdown
from console.report.model import ReportModel, build_report
from console.store.database import Store, StoreError
from console.store.read import LAST, LAST_SWEEP
from console.store.selectors import load_selection, resolve_selector

RENDERERS: dict[str, Callable[[ReportModel], str]] = {
    "md": lambda model: as_markdown(document(model)),
    "html": lambda model: as_html(document(model)),
    "json": as_json,
    "csv": as_csv,
}


def report_text(
    store: Store,
    names: Sequence[str],
    kind: str,
    *,
    at: tuple[int, int] | None = None,
    baseline: str = "",
    slo_p95_ms: float | None = None,
) -> str:
    """Returns the report on the named runs, sweeps and tags in the format `kind`, one of RENDERERS.

    Without names it reports on the last sweep, or on the last run if there is no sweep. `at` is the batch size and
    concurrency at which deployments are compared. Raises StoreError or NothingToReport.
    """
    if not names:
        try:
            sets = [resolve_selector(store, LAST_SWEEP)]
        except StoreError:
            sets = [resolve_selector(store, LAST)]
    else:
        sets = [resolve_selector(store, name) for name in names]
    runs = {run.row.run_id: run for one in sets for run in load_selection(store, one)}
    ordered = sorted(runs.values(), key=lambda run: run.row.started_at)
    titles = [one.title for one in sets]
    return RENDERERS[kind](build_report(ordered, titles, at=at, baseline=baseline, slo_p95_ms=slo_p95_ms))
