"""`embedconsole max-load`: the highest load under an SLO. Nothing heavy is imported before it is needed."""

from typing import Any

import click
import cloup
from cloup import option, option_group

from console.cli.engine_options import ENGINE_OPTIONS, engine_spec
from console.cli.load_options import LOAD_OPTIONS, load_spec
from console.cli.param_types import Duration
from console.cli.runs import STORE_OPTIONS, store_of

_SEARCHED = ("rate", "concurrency", "ramp")


@cloup.command(
    "max-load",
    epilog="""\b
Examples:
  embedconsole max-load --slo-p95 50 --backend onnx --precision int8 --batch 1
  embedconsole max-load --slo-p95 200 --closed --batch 32 --json
\b
The level is doubled until it does not hold, then halved in; every limit takes two agreeing trials, and the winner is
measured again for twice as long. What limits it is named: the SLO, the client, errors, or no equilibrium.
\b
Exit codes, the first that applies:
  3 usage, 5 the engine failed, 4 the load driver was the bottleneck, 2 unstable, 1 nothing meets the SLO, 0 ok""",
)
@option("--slo-p95", type=click.FloatRange(0, min_open=True), required=True, metavar="MS", help="What p95 may be.")
@option("--closed", is_flag=True, help="Search for a closed loop's concurrency instead of an open one's rate.")
@ENGINE_OPTIONS
@LOAD_OPTIONS
@option_group(
    "How it is measured",
    option("--duration", type=Duration(1.0), default="5s", metavar="TIME", help="Of one trial.  [default: 5s]"),
    option("--warmup", type=Duration(0.0), default="2s", metavar="TIME", help="Before each.  [default: 2s]"),
)
@option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@STORE_OPTIONS
def max_load(slo_p95: float, closed: bool, as_json: bool, **flags: Any) -> None:
    """Find the highest load that the engine carries under an SLO, and what limits it."""
    from console.commands.max_load import max_load_once
    from console.commands.run import check_corpus
    from console.measure.max_load import MaxLoadSpec
    from console.session.port import SessionOptions
    from console.store.database import StoreError

    context = click.get_current_context()
    for name in _SEARCHED:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} is for max-load to find: leave it out (--closed finds the concurrency)")
    load = load_spec({**flags, "rate": flags["rate"] if closed else 1.0})
    if refusal := check_corpus(load):
        raise click.BadParameter(refusal, param_hint="'--corpus'")
    spec = MaxLoadSpec(load, slo_p95, flags["duration"], flags["warmup"], closed)
    options = SessionOptions(engine=engine_spec(flags), connect=flags["connect"] or "", start=True, load=load)
    try:
        code = max_load_once(options, spec, store=store_of(flags), as_json=as_json)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    raise SystemExit(code)
