"""`embedconsole max-load`: finds the highest load under an SLO. Imports heavy modules only when it runs."""

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
The search doubles the load until a trial fails, then bisects. Each bound needs two trials that agree, and the result is
measured again for twice as long. The output names what limits it: the SLO, the client, errors, or no equilibrium.
\b
Exit codes, the first that applies:
  3 usage, 5 the engine failed or nothing answers, 4 the load generator was the bottleneck, 2 too short or unstable,
  1 errors, or nothing meets the SLO, 0 ok""",
)
@option("--slo-p95", type=click.FloatRange(0, min_open=True), required=True, metavar="MS", help="Limit of p95.")
@option("--closed", is_flag=True, help="Search for the concurrency of a closed loop instead of a rate.")
@ENGINE_OPTIONS
@LOAD_OPTIONS
@option_group(
    "Measurement",
    option(
        "--duration",
        type=Duration(1.0),
        default="5s",
        show_default=True,
        metavar="TIME",
        help="Measured time of one trial.",
    ),
    option(
        "--warmup",
        type=Duration(0.0),
        default="2s",
        show_default=True,
        metavar="TIME",
        help="Time before each trial that does not count.",
    ),
)
@option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
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
            raise click.UsageError(f"max-load searches for --{name}: leave it out (--closed finds the concurrency)")
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
