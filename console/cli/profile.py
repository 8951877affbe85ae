"""`embedconsole profile`: a file that shows where the engine spends its time. Nothing heavy is imported beforehand."""

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
  embedconsole profile --connect 127.0.0.1:50051 -o engine.json      under the load that it has now
\b
The ending says what is written: .svg a flame graph, .json for speedscope.app, .txt stacks with counts. It needs py-spy
(pip install py-spy) and the right to look into the engine's process.""",
)
@ENGINE_OPTIONS
@LOAD_OPTIONS
@option_group(
    "What is recorded",
    option("--duration", type=Duration(1.0), default="10s", metavar="TIME", help="For so long.  [default: 10s]"),
    option("--warmup", type=Duration(0.0), default="3s", metavar="TIME", help="Before it.  [default: 3s]"),
    option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default="engine-profile.svg",
           metavar="FILE", help="The file to write.  [default: engine-profile.svg]"),
)  # fmt: skip
def profile(**flags: Any) -> None:
    """Record the engine's threads under a load into a file."""
    from console.commands.profile import profile_once
    from console.commands.run import check_corpus
    from console.session.port import SessionOptions

    output: Path = flags["output"]
    if output.suffix.lower() not in _ENDINGS:
        raise click.UsageError(f"{output}: end the file's name with one of {', '.join(_ENDINGS)}")
    if not output.absolute().parent.is_dir():
        raise click.UsageError(f"{output}: there is no folder {output.absolute().parent}")
    load = load_spec(flags)
    if refusal := check_corpus(load):
        raise click.BadParameter(refusal, param_hint="'--corpus'")
    options = SessionOptions(engine=engine_spec(flags), connect=flags["connect"] or "", start=True, load=load)
    raise SystemExit(profile_once(options, load, flags["warmup"], flags["duration"], output))
