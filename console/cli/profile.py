"""`embedconsole profile`: records where the engine spends its time. Imports heavy modules only when it runs."""

from pathlib import Path
from typing import Any

import click
import cloup
from cloup import option, option_group

from console.cli.engine_options import ENGINE_OPTIONS, engine_spec
from console.cli.load_options import LOAD_OPTIONS, load_spec
from console.cli.param_types import Duration

_ENDINGS = (".svg", ".json", ".txt")


@cloup.command(
    epilog="""\b
Examples:
  embedconsole profile --backend onnx --batch 1 --concurrency 32 -o engine.svg
  embedconsole profile --connect 127.0.0.1:50051 -o engine.json      under its current load
\b
The extension selects the format: .svg a flame graph, .json a profile for speedscope.app, .txt stacks with counts.
Requires py-spy (pip install py-spy) and permission to trace the engine's process.""",
)
@ENGINE_OPTIONS
@LOAD_OPTIONS
@option_group(
    "Recording",
    option("--duration", type=Duration(1.0), default="10s", show_default=True, metavar="TIME", help="Recorded time."),
    option("--warmup", type=Duration(0.0), default="3s", show_default=True, metavar="TIME",
           help="Time before the recording that does not count."),
    option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default="engine-profile.svg",
           show_default=True, metavar="FILE", help="File to write: .svg, .json or .txt."),
)  # fmt: skip
def profile(**flags: Any) -> None:
    """Record the engine's threads under a load as a flame graph, a profile or stacks."""
    from console.commands.profile import profile_once
    from console.commands.run import check_corpus
    from console.session.port import SessionOptions

    output: Path = flags["output"]
    if output.suffix.lower() not in _ENDINGS:
        raise click.UsageError(f"{output}: end the file's name with one of {', '.join(_ENDINGS)}")
    if not output.absolute().parent.is_dir():
        raise click.UsageError(f"{output}: folder {output.absolute().parent} does not exist: create it or name another")
    load = load_spec(flags)
    if refusal := check_corpus(load):
        raise click.BadParameter(refusal, param_hint="'--corpus'")
    options = SessionOptions(engine=engine_spec(flags), connect=flags["connect"] or "", start=True, load=load)
    raise SystemExit(profile_once(options, load, flags["warmup"], flags["duration"], output))
