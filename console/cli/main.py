"""`embedconsole`: the console, and its headless commands. A command imports heavy modules only when it runs.

Data goes to stdout, everything else to stderr. Exit codes, the first that applies: 3 usage, 5 the engine failed or
nothing answers, 4 the load generator was the bottleneck, 1 errors, 2 too short, unstable or no terminal, 1 SLO missed,
0 ok.
"""

import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any

import click
import cloup
from cloup import HelpFormatter, option, option_group

from console.cli.compare import compare
from console.cli.console import FRESH_OPTION, has_terminal, open_console, refuse_without_terminal
from console.cli.engine_options import ENGINE_OPTIONS, engine_spec, names_an_engine
from console.cli.gate import gate
from console.cli.keys import KEYMAP_OPTION, keys, registry_of
from console.cli.load_options import LOAD_OPTIONS, load_spec
from console.cli.max_load import max_load
from console.cli.param_types import AUTO, Duration
from console.cli.profile import profile
from console.cli.report import report
from console.cli.runs import STORE_OPTIONS, runs, store_of
from console.cli.suggestions import SuggestingGroup
from console.cli.sweep import sweep
from console.cli.web_options import WEB_OPTIONS, command_of
from console.model.exit_codes import EXIT_INTERRUPTED, ExitCode

AUTO_FROM_S, AUTO_TO_S = 10.0, 60.0
"""Shortest and longest measurement with `--duration auto`."""
INSTEAD = "embedconsole run --batch 32 --concurrency 4 --duration 10s"
FORMATTER = HelpFormatter.settings(max_width=100, col2_min_width=50)


@cloup.group(
    cls=SuggestingGroup,
    formatter_settings=FORMATTER,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    epilog=f"""\b
Examples:
  embedconsole --start                        start an engine with the bundled model
  embedconsole --connect 127.0.0.1:50051      use a running engine
  {INSTEAD}   measure without a terminal""",
)
@option("--start", is_flag=True, help="Start the engine immediately.")
@FRESH_OPTION
@KEYMAP_OPTION
@ENGINE_OPTIONS
@WEB_OPTIONS
@cloup.version_option(package_name="embedconsole", prog_name="embedconsole")
@click.pass_context
def cli(context: click.Context, /, start: bool, fresh: bool, keymap: str, web: bool, **flags: Any) -> None:
    """Run live experiments on an embedding engine: serve, switch, load and measure it.

    Without a command, open the console on this terminal.
    """
    if context.invoked_subcommand is not None:
        return
    engine = engine_spec(flags)
    registry = registry_of(keymap)
    if web:
        from console.cli.web import serve

        context.exit(serve(command_of(context), flags["web_host"], flags["web_port"], flags["web_url"]))
    refuse_without_terminal(context, INSTEAD)
    named = engine if names_an_engine(flags) else None
    context.exit(open_console(registry, engine=named, connect=flags["connect"] or "", start=start, fresh=fresh))


@cli.command(
    epilog="""\b
Examples:
  embedconsole run --backend onnx --precision fp32 --batch 32 --concurrency 4 --json
  embedconsole run --connect 127.0.0.1:50051 --batch 1 --concurrency 32 --slo-p95 40
  embedconsole run --workload pairs --corpus my-texts.txt --duration 1m
  embedconsole run --batch 1 --rate 200 --ramp 5s --duration auto
\b
Exit codes, the first that applies:
  3 usage, 5 the engine failed or nothing answers, 4 the load generator was the bottleneck,
  1 more than 0.1 % of the requests failed, 2 too short or unstable, 1 SLO missed, 0 ok""",
)
@ENGINE_OPTIONS
@LOAD_OPTIONS
@option_group(
    "Measurement",
    option(
        "--duration",
        type=Duration(1.0, auto=True),
        default="10s",
        metavar="TIME|auto",
        show_default=True,
        help="Measured time after the warm-up; auto measures 10 s to 60 s, until the figures are steady.",
    ),
    option(
        "--warmup",
        type=Duration(0.0),
        default="3s",
        metavar="TIME",
        show_default=True,
        help="Time before the measurement that does not count.",
    ),
    option(
        "--slo-p95",
        type=click.FloatRange(0, min_open=True),
        metavar="MS",
        help="Latency limit: exit with 1 if p95 exceeds it.",
    ),
    option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout."),
)
@STORE_OPTIONS
def run(as_json: bool, **flags: Any) -> None:
    """Measure one load on one engine, and report the figures with their validity."""
    from console.commands.run import run_once

    arguments = _run_arguments(flags)
    store = store_of(flags)
    raise SystemExit(run_once(*arguments, coalesce=flags["coalesce"], as_json=as_json, store=store))


def _run_arguments(flags: dict[str, Any]) -> tuple[Any, Any]:
    from console.commands.run import check_corpus
    from console.measure.spec import RunSpec
    from console.session.port import SessionOptions

    load = load_spec(flags)
    if refusal := check_corpus(load):
        raise click.BadParameter(refusal, param_hint="'--corpus'")
    options = SessionOptions(engine=engine_spec(flags), connect=flags["connect"] or "", start=True, load=load)
    if flags["duration"] == AUTO:
        return options, RunSpec(load, AUTO_FROM_S, flags["warmup"], flags["slo_p95"], at_most_s=AUTO_TO_S)
    return options, RunSpec(load, flags["duration"], flags["warmup"], flags["slo_p95"])


cli.add_command(runs)
cli.add_command(sweep)
cli.add_command(compare)
cli.add_command(gate)
cli.add_command(report)
cli.add_command(max_load)
cli.add_command(profile)
cli.add_command(keys)


@cli.command(
    epilog="""\b
Examples:
  embedconsole calibrate --batch 32 --concurrency 4
  embedconsole calibrate --batch 1 --rate 500 --json
\b
The load generator runs against a server that computes nothing; `run` compares its figures with this ceiling.""",
)
@LOAD_OPTIONS
@option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def calibrate(as_json: bool, **flags: Any) -> None:
    """Measure the ceiling of the load generator, and store it for this machine."""
    from console.commands.run import calibrate_once

    raise SystemExit(calibrate_once(load_spec(flags), as_json=as_json))


@cli.command(hidden=True)
def quickstart() -> None:
    """Open the console with an engine, or measure one short run where there is no terminal (`make console`)."""
    if has_terminal():
        main(["--start"])
    from console.commands.run import run_once
    from console.measure.spec import RunSpec
    from console.model.load import LoadSpec
    from console.session.port import SessionOptions

    load = LoadSpec(batch=32, concurrency=4)
    options, store = SessionOptions(start=True, load=load), store_of({"store": "", "no_store": False})
    code = run_once(options, RunSpec(load), coalesce=None, as_json=False, store=store)
    raise SystemExit(code if code in (ExitCode.ENGINE_FAILED, EXIT_INTERRUPTED) else 0)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits. Usage errors exit with 3, since 2 has another meaning in these commands."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a letter that the terminal or pipe lacks does not fail a command
    sys.exit(_exit_code(lambda: cli.main(arguments, prog_name="embedconsole", standalone_mode=False)))


def _exit_code(command: Callable[[], object]) -> int:
    try:
        code = command()
    except click.ClickException as error:
        message = f"embedconsole: {error.format_message()}"
        if isinstance(error, click.UsageError):
            message += f"\n  see: {error.ctx.command_path if error.ctx is not None else 'embedconsole'} --help"
        click.echo(message, err=True)
        return ExitCode.USAGE
    except click.Abort:
        return EXIT_INTERRUPTED
    return code if isinstance(code, int) else 0
