"""`embedconsole report`: writes a report on stored runs. Imports heavy modules only when it runs."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import cloup
from cloup import option

from console.cli.runs import STORE_OPTION

FORMATS = ("md", "html", "json", "csv")


class BatchByConcurrency(click.ParamType[tuple[int, int]]):
    """`32x4`: batch by concurrency."""

    name = "BxC"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Returns (batch, concurrency)."""
        match = re.fullmatch(r"\s*(\d+)\s*[x×]\s*(\d+)\s*", str(value))
        if match is None:
            self.fail(f"{value!r} is not a load: write batch by concurrency, as in 32x4", param, ctx)
        return int(match[1]), int(match[2])


@cloup.command(
    epilog="""\b
Examples:
  embedconsole report -o results.html
  embedconsole report seed --at 32x4 --baseline torch·fp32 --format md
  embedconsole report main last-sweep --slo-p95 40 --format json -o results.json
\b
A name is a run, a sweep (id or name), a tag, `last` or `last-sweep`. Without a name the report is on the last sweep, or
on the last run if there is no sweep. It reads the store alone.""",
)
@click.argument("names", nargs=-1, metavar="[RUNS...|SWEEP]")
@option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    default=None,
    help="Format of the report.  [default: extension of -o, else md]",
)
@option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File to write.  [default: stdout]",
)
@option(
    "--at",
    type=BatchByConcurrency(),
    metavar="BxC",
    help="Batch by concurrency at which deployments are compared.  [default: the load of most deployments]",
)
@option(
    "--baseline",
    default="",
    metavar="CELL",
    help="Baseline deployment, as torch·fp32.  [default: fp32 on torch, onnx or openvino]",
)
@option(
    "--slo-p95",
    type=click.FloatRange(0, min_open=True),
    metavar="MS",
    help="Latency limit for p95.  [default: that of the runs]",
)
@option("--title", default="", metavar="TEXT", help="Title of the page.  [default: the model and the machine]")
@STORE_OPTION
def report(names: Sequence[str], kind: str | None, output: Path | None, store: str, **flags: Any) -> None:
    """Write a report on stored runs: the answer, findings, recommendations, charts, every cell, environment."""
    from console.report.build import report_text
    from console.report.model import NothingToReport
    from console.store.database import Store, StoreError, store_path

    ending = output.suffix.lstrip(".").lower() if output is not None else ""
    kind = kind or (ending if ending in FORMATS else "md")
    try:
        with Store.open(store_path(store)) as opened:
            asked = {name: flags[name] for name in ("at", "baseline", "title")}
            text = report_text(opened, names, kind, slo_p95_ms=flags["slo_p95"], **asked)
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
