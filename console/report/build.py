"""Builds a report from the store in one of the formats of RENDERERS."""

from collections.abc import Callable, Sequence

from console.report.data import as_csv, as_json
from console.report.document import document
from console.report.model import ReportModel, build_report
from console.report.origin import measuring_command
from console.report.render.html import as_html
from console.report.render.md import as_markdown
from console.store.database import Store, StoreError
from console.store.read import LAST, LAST_SWEEP, RunFilter, list_runs
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
    title: str = "",
) -> str:
    """Returns the report on the named runs, sweeps and tags in the format `kind`, one of RENDERERS.

    Without names it reports on the last sweep, or on the last run if there is no sweep. `at` is the batch size and
    concurrency at which deployments are compared. `title` replaces the title of the page. Raises StoreError or
    NothingToReport.
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
    sweeps = dict.fromkeys(run.row.sweep_id for run in ordered if run.row.sweep_id)
    model = build_report(
        ordered,
        [one.title for one in sets],
        at=at,
        baseline=baseline,
        slo_p95_ms=slo_p95_ms,
        heading=title,
        made_by=[command for one in sets if (command := measuring_command(store, one))],
        swept=[row for sweep_id in sweeps for row in list_runs(store, RunFilter(sweep=sweep_id))],
    )
    return RENDERERS[kind](model)
