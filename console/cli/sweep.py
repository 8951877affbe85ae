"""`embedconsole sweep`: many cells, one command. Nothing heavy is imported before it is needed."""

from pathlib import Path
from typing import Any

import click
import cloup
from cloup import option, option_group

from console.cli.param_types import Address
from console.cli.runs import STORE_OPTIONS, store_of

PRESETS = ("quick", "seed", "latency", "throughput")


@cloup.command(
    epilog="""\b
Examples:
  embedconsole sweep --preset quick
  embedconsole sweep my-sweep.toml --resume --json
\b
A specification:
  name = "int8-or-not"
  duration = "10s"
  [grid]
  backends = ["onnx", "openvino"]
  precisions = ["fp32", "int8"]
  batch = [1, 32]
  concurrency = [1, 4, 16]
\b
Ctrl+C ends it after the running cell, Ctrl+C twice at once. Exit codes, the first that applies to any cell:
  3 usage, 5 failed, 4 the load driver was the bottleneck, 2 unstable, 1 SLO missed, 0 ok""",
)
@click.argument("spec", required=False, type=click.Path(path_type=Path), metavar="[SPEC.toml]")
@option_group(
    "Which sweep",
    option("--preset", type=click.Choice(PRESETS), default=None, help="One that comes with the console."),
    option("--connect", type=Address(), default=None, metavar="ADDR", help="An engine that runs already."),
    option("--resume", is_flag=True, help="Go on with the last sweep of this name: measure what it lacks."),
)
@STORE_OPTIONS
@option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def sweep(spec: Path | None, preset: str | None, connect: str | None, **flags: Any) -> None:
    """Measure a grid of cells, one after the other, on one engine."""
    from console.commands.sweep import sweep_once
    from console.session.port import SessionOptions
    from console.store.database import StoreError
    from console.sweep.spec import SpecError, read_spec
    from console.sweep.spec import preset as preset_spec

    if (spec is None) == (preset is None):
        raise click.UsageError(f"give a specification (SPEC.toml), or --preset {'|'.join(PRESETS)}")
    if flags["resume"] and flags["no_store"]:
        raise click.UsageError("--resume needs the store: leave out --no-store")
    try:
        wanted = read_spec(spec) if spec is not None else preset_spec(str(preset))
    except SpecError as error:
        raise click.UsageError(str(error)) from error
    options = SessionOptions(engine=wanted.points[0].engine_spec, connect=connect or "")
    store = store_of(flags)
    if flags["resume"] and store is None:
        raise click.ClickException("--resume needs a store that can be used: name one with --store")
    try:
        code = sweep_once(options, wanted, store=store, resume=flags["resume"], as_json=flags["as_json"])
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    raise SystemExit(code)
