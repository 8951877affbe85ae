"""`embedconsole report`: stored runs as a page of results. Nothing heavy is imported before it is needed."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import cloup
from cloup import option

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
@option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    default=None,
    help="What to write.  [default: by -o's ending, else md]",
)
@option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to write.  [default: stdout]",
)
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
    from console.report.build import report_text
    from console.report.model import NothingToReport
    from console.store.database import Store, StoreError, store_path

    ending = output.suffix.lstrip(".").lower() if output is not None else ""
    kind = kind or (ending if ending in FORMATS else "md")
    try:
        with Store.open(store_path(store)) as opened:
            text = report_text(
                *(opened, names, kind), at=flags["at"], baseline=flags["baseline"], slo_p95_ms=flags["slo_p95"]
            )
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
