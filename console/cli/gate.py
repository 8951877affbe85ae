"""`embedconsole gate`: checks a stored run against conditions, for CI. Imports heavy modules only when it runs."""

import json
from collections.abc import Sequence

import click
import cloup
from cloup import option

from console.cli.runs import STORE_OPTION
from console.cli.suggestions import complete_run_names

_SIGNS = "<>"


@cloup.command(
    epilog="""\b
Examples:
  embedconsole gate 'p95<120ms' 'errors<=0'
  embedconsole runs pin main r-20261123-101500-3fa2
  embedconsole gate last 'texts_per_s>-5%@main' 'p95<+10%@main' 'fidelity>=0.995'
\b
A condition is FIGURE, one of < <= > >=, and a value with its unit; or a change in percent from a baseline, written
@TAG or @RUN.
Figures: texts_per_s, pairs_per_s, requests_per_s, mean, p50, p90, p95, p99, max, fidelity, errors, rss.
\b
Exit codes, the first that applies:
  3 usage, 5 the run failed, 4 the load generator was the bottleneck, 1 errors, 2 too short or unstable,
  1 regressed or SLO missed, 0 ok""",
)
@click.argument("arguments", nargs=-1, metavar="[RUN] CONDITION...", shell_complete=complete_run_names)
@STORE_OPTION
@option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def gate(arguments: Sequence[str], store: str, as_json: bool) -> None:
    """Check a run (the last one unless named) against conditions, and set the exit code."""
    from console.compare.gate import WrongBaseline, judge_run
    from console.compare.gate_conditions import ConditionError, parse_condition
    from console.output.gate import as_json as json_of
    from console.output.gate import as_text
    from console.store.database import Store, StoreError, store_path
    from console.store.read import load_run, resolve_run

    named = bool(arguments) and not any(sign in arguments[0] for sign in _SIGNS)
    run_id, wanted = (arguments[0], arguments[1:]) if named else ("last", arguments)
    if not wanted:
        raise click.UsageError("give at least one condition, as in 'p95<120ms' or 'texts_per_s>-5%@main'")
    try:
        conditions = [parse_condition(text) for text in wanted]
        with Store.open(store_path(store)) as opened:
            result = judge_run(opened, load_run(opened, resolve_run(opened, run_id)), conditions)
    except ConditionError as error:
        raise click.UsageError(str(error)) from error
    except (StoreError, WrongBaseline) as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(json_of(result), ensure_ascii=False) if as_json else as_text(result))
    raise SystemExit(result.exit_code)
