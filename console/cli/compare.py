"""`embedconsole compare`: compares stored runs, or deployments live. Imports heavy modules only when it runs."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import cloup
from cloup import option, option_group

from console.cli.load_options import LOAD_OPTIONS, load_spec
from console.cli.param_types import Address, Duration
from console.cli.runs import STORE_OPTIONS, store_of
from console.cli.suggestions import complete_run_names

if TYPE_CHECKING:
    from console.store.database import Store

LEAST, MOST = 2, 4


@cloup.command(
    epilog="""\b
Examples:
  embedconsole compare main last
  embedconsole compare s-20261123-101500-3fa2 last-sweep --json
  embedconsole compare --live 'onnx fp32' 'onnx int8' --rounds 6 --batch 32 --concurrency 4
  embedconsole compare --live 'onnx int8 instances=2 threads=1' 'onnx int8 instances=1 threads=2'
\b
Without --live a name is a run, a sweep, a tag, `last` or `last-sweep`. With --live it is a deployment: backend,
precision, and key=value of recipe, instances, threads, device, model, coalesce, max-batch-tokens. The first name is the
baseline. "same" means that the whole 95 % interval of the ratio lies within 3 %, "inconclusive" (in JSON "undecided")
that it includes 1.
\b
Exit codes: 0 compared, 3 usage; with --live also 5 the engine failed, 4 the load generator was the bottleneck,
1 errors""",
)
@click.argument("names", nargs=-1, metavar="A B [C D]", shell_complete=complete_run_names)
@option_group(
    "Live",
    option("--live", is_flag=True, help="Measure deployments now, on one engine that switches between them."),
    option(
        "--rounds",
        type=click.IntRange(2, 100),
        default=6,
        show_default=True,
        metavar="N",
        help="Rounds; each measures every deployment once.",
    ),
    option("--connect", type=Address(), default=None, metavar="ADDR", help="Use a running engine at host:port."),
    option("--strict", is_flag=True, help="Fail instead of falling back to another backend or precision."),
    option(
        "--duration",
        type=Duration(1.0),
        default="5s",
        show_default=True,
        metavar="TIME",
        help="Measured time of one measurement.",
    ),
    option(
        "--warmup",
        type=Duration(0.0),
        default="2s",
        show_default=True,
        metavar="TIME",
        help="Time before each measurement that does not count.",
    ),
    option(
        "--order-seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        metavar="N",
        help="Seed of the random order within a round.",
    ),
)
@LOAD_OPTIONS
@STORE_OPTIONS
@option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def compare(names: Sequence[str], live: bool, as_json: bool, **flags: Any) -> None:
    """Compare throughput and latency of two to four runs or deployments, with confidence intervals."""
    if not LEAST <= len(names) <= MOST:
        what = "deployments, as in 'onnx fp32' 'onnx int8'" if live else "runs, sweeps or tags, as in `main last`"
        raise click.UsageError(f"compare needs two to four {what}; {len(names)} given")
    if live:
        raise SystemExit(_live(names, as_json, flags))
    _refuse_live_flags()
    if flags["no_store"]:
        raise click.UsageError("stored runs cannot be compared with --no-store: leave it out, or use --live")
    store = store_of(flags)
    if store is None:
        raise click.ClickException("the store cannot be used: name another with --store")
    with store:
        click.echo(_stored(store, names, as_json))


def _refuse_live_flags() -> None:
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in ("names", "as_json", "store", "no_store"):
            raise click.UsageError(f"{parameter.opts[0]} applies to a live comparison: add --live, or leave it out")


def _stored(store: "Store", names: Sequence[str], as_json: bool) -> str:
    from console.compare.stored import CannotCompare
    from console.compare.stored import compare as compared
    from console.output import compare
    from console.store.database import StoreError
    from console.store.selectors import load_selection, resolve_selector

    try:
        sets = [resolve_selector(store, name) for name in names]
        loaded = [load_selection(store, runs) for runs in sets]
        results = [compared(sets[0], loaded[0], other, runs) for other, runs in zip(sets[1:], loaded[1:], strict=True)]
    except (StoreError, CannotCompare) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        return json.dumps(compare.as_json(results), ensure_ascii=False)
    return compare.as_text(results)


def _live(names: Sequence[str], as_json: bool, flags: dict[str, Any]) -> int:
    from console.commands.compare_live import LivePlan, SideError, compare_once, parse_side
    from console.commands.run import check_corpus
    from console.measure.spec import RunSpec
    from console.session.port import SessionOptions
    from console.store.database import StoreError

    load = load_spec(flags)
    if refusal := check_corpus(load):
        raise click.BadParameter(refusal, param_hint="'--corpus'")
    run = RunSpec(load, flags["duration"], flags["warmup"])
    try:
        sides = tuple(parse_side(name, run, strict=flags["strict"]) for name in names)
    except SideError as error:
        raise click.UsageError(str(error)) from error
    plan = LivePlan(sides, flags["rounds"], flags["order_seed"])
    options = SessionOptions(engine=sides[0].point.engine_spec, connect=flags["connect"] or "")
    try:
        return compare_once(options, plan, store=store_of(flags), as_json=as_json)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
