"""`embedconsole report`: writes a report on stored runs. Imports heavy modules only when it runs."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import cloup
from cloup import option

from console.cli.runs import STORE_OPTION
from console.cli.suggestions import complete_run_names

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
@click.argument("names", nargs=-1, metavar="[RUNS...|SWEEP]", shell_complete=complete_run_names)
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
@option("--force", is_flag=True, help="Overwrite the file if it exists.")
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
def report(names: Sequence[str], kind: str | None, output: Path | None, force: bool, store: str, **flags: Any) -> None:
    """Write a report on stored runs: the answer, findings, recommendations, charts, every cell, environment."""
    from console.report.build import report_text
    from console.report.model import NothingToReport
    from console.store.database import Store, StoreError, store_path

    kind = kind or _format_of(output)
    if output is not None and output.is_file() and not force:
        raise click.UsageError(f"{output} exists: --force overwrites it, or name another file")
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
        with output.open("w" if force or output.exists() else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise click.ClickException(
            f"{output} cannot be written ({error.strerror}): name another file with -o"
        ) from error
    click.echo(f"written: {output}", err=True)


def _format_of(output: Path | None) -> str:
    """Returns the format that the file's extension names; `md` for stdout. Raises UsageError for another one."""
    if output is None:
        return "md"
    extension = output.suffix.lstrip(".").lower()
    if extension not in FORMATS:
        known = ", ".join(f".{one}" for one in FORMATS)
        raise click.UsageError(f"{output}: end the file's name with one of {known}, or give --format")
    return extension
