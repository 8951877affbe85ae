"""`embedconsole report`: stored runs as a page of results. Nothing heavy is imported before it is needed."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup
from cloup import option

if TYPE_CHECKING:
    from console.experiments.report_model import ReportModel

FORMATS = ("md", "html", "json", "csv")


class BatchByConcurrency(click.ParamType[tuple[int, int]]):
    """`32x4`: batch by concurrency."""

    name = "BxC"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Fails with a sentence that shows how to write one."""
        found = re.fullmatch(r"\s*(\d+)\s*[x×]\s*(\d+)\s*", str(value))
        if found is None:
            self.fail(f"{value!r} is no load: write batch by concurrency, as in 32x4", param, ctx)
        return int(found[1]), int(found[2])


@cloup.command(
    epilog="""\b
Examples:
  embedconsole report -o results.html
  embedconsole report seed --at 32x4 --baseline torch·fp32 --format md
  embedconsole report main last-sweep --slo-p95 40 --format json -o results.json
\b
Each name is a run, a sweep (by id or name), a tag, `last` or `last-sweep`; without any it is the last sweep, or the
last run where there is none. All of it comes from the store alone.""",
)
@click.argument("names", nargs=-1, metavar="[RUNS...|SWEEP]")
@option("--format", "kind", type=click.Choice(FORMATS), default=None, help="[default: by -o's ending, else md]")
@option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[default: stdout]")
@option(
    "--at", type=BatchByConcurrency(), metavar="BxC", help="Where deployments are compared.  [default: most measured]"
)
@option("--baseline", default="", metavar="CELL", help="A deployment, as torch·fp32.  [default: fp32 on torch]")
@option(
    "--slo-p95", type=click.FloatRange(0, min_open=True), metavar="MS", help="Judge by it.  [default: the runs' own]"
)
@option("--store", default="", metavar="FILE", help="The experiment store.  [default: EMBEDCONSOLE_STORE, or yours]")
def report(names: Sequence[str], kind: str | None, output: Path | None, store: str, **flags: Any) -> None:
    """Write what was measured as a page of results: summary, findings, charts, recommendations, environment."""
    from console.experiments.report_model import NothingToReport
    from console.experiments.store import StoreError

    ending = output.suffix.lstrip(".").lower() if output is not None else ""
    kind = kind or (ending if ending in FORMATS else "md")
    try:
        text = _renderer(kind)(_model(store, names, flags))
    except (StoreError, NothingToReport) as error:
        raise click.ClickException(str(error)) from error
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise click.ClickException(
            f"{output} cannot be written ({error.strerror}): name another file with -o"
        ) from error
    click.echo(f"written: {output}", err=True)


def _model(path: str, names: Sequence[str], flags: dict[str, Any]) -> "ReportModel":
    from console.experiments.report_model import build_report
    from console.experiments.run_sets import LAST_SWEEP, load_set, resolve_set
    from console.experiments.store import Store, StoreError, store_path
    from console.experiments.store_read import LAST

    with Store.open(store_path(path)) as store:
        if not names:
            try:
                sets = [resolve_set(store, LAST_SWEEP)]
            except StoreError:
                sets = [resolve_set(store, LAST)]
        else:
            sets = [resolve_set(store, name) for name in names]
        runs = {run.row.run_id: run for one in sets for run in load_set(store, one)}
    ordered = sorted(runs.values(), key=lambda run: run.row.started_at)
    titles = [one.title for one in sets]
    return build_report(ordered, titles, at=flags["at"], baseline=flags["baseline"], slo_p95_ms=flags["slo_p95"])


def _renderer(kind: str) -> "Callable[[ReportModel], str]":
    from console.experiments.report_data import as_csv, as_json
    from console.experiments.report_document import document
    from console.experiments.report_html import as_html
    from console.experiments.report_md import as_markdown

    renderers: dict[str, Callable[[ReportModel], str]] = {
        "md": lambda model: as_markdown(document(model)),
        "html": lambda model: as_html(document(model)),
        "json": as_json,
        "csv": as_csv,
    }
    return renderers[kind]
