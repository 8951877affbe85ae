"""`embedconsole sweep`: measures a grid of cells. Imports heavy modules only when it runs."""

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
A specification (a cell is one deployment at one load):
  name = "int8-or-not"
  duration = "10s"
  [grid]
  backends = ["onnx", "openvino"]
  precisions = ["fp32", "int8"]
  batch = [1, 32]
  concurrency = [1, 4, 16]
\b
A batching setting that no axis names has its default: coalescing on, no wait, batch bounds of the serving plan.
Backend, precision, model and device are those of the engine before the sweep unless they are named; afterwards a
running engine is as it was.
\b
Ctrl+C stops the sweep after the running cell, a second Ctrl+C immediately. Exit codes, the first that applies to any
cell:
  3 usage, 5 failed, 4 the load generator was the bottleneck, 1 errors, 2 too short or unstable, 1 SLO missed, 0 ok""",
)
@click.argument("spec", required=False, type=click.Path(path_type=Path), metavar="[SPEC.toml]")
@option_group(
    "Sweep",
    option("--preset", type=click.Choice(PRESETS), default=None, help="Built-in sweep, instead of a specification."),
    option("--connect", type=Address(), default=None, metavar="ADDR", help="Use a running engine at host:port."),
    option("--resume", is_flag=True, help="Resume the last sweep of this name: measure its missing cells."),
)
@STORE_OPTIONS
@option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def sweep(spec: Path | None, preset: str | None, connect: str | None, **flags: Any) -> None:
    """Measure a grid of cells on one engine, one after the other."""
    from console.commands.sweep import sweep_once
    from console.model.engine import EngineSpec
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
    first = wanted.points[0].target
    options = SessionOptions(engine=EngineSpec(model=first.model, device=first.device), connect=connect or "")
    store = store_of(flags)
    if flags["resume"] and store is None:
        raise click.ClickException("--resume needs the store, which cannot be used: name another with --store")
    try:
        code = sweep_once(options, wanted, store=store, resume=flags["resume"], as_json=flags["as_json"])
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    raise SystemExit(code)
