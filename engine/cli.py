"""The command line of `engine`: serve, capabilities, fidelity, export, tune. Each imports its body when it runs."""

import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import cloup
from cloup import HelpFormatter, option, option_group

from engine import __version__
from engine.commands.limit_options import LIMIT_OPTIONS
from engine.exit_codes import ExitCode
from engine.host.reporting import open_standard_streams

FORMATTER = HelpFormatter.settings(max_width=100, col1_max_width=32, col2_min_width=30)


class AutoOrCount(click.ParamType[int]):
    """`auto` (0) or a whole number from 1."""

    name = "auto or N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Returns 0 for `auto`."""
        if value in ("auto", 0):
            return 0
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"{value!r} is not `auto` or a whole number from 1", param, ctx)
        return number


class GradeLimit(click.ParamType[tuple[float, float]]):
    """`0.995,0.92`: mean cosine and overlap@10."""

    name = "COSINE,OVERLAP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Returns both numbers, each between 0 and 1."""
        try:
            cosine, overlap = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not two numbers with a comma between them", param, ctx)
        if not (0 <= cosine <= 1 and 0 <= overlap <= 1):
            self.fail(f"{value!r}: both numbers must be between 0 and 1", param, ctx)
        return cosine, overlap


BACKEND = click.Choice(["auto", "torch", "onnx", "openvino"])
PRECISION = click.Choice(["auto", "fp32", "bf16", "fp16", "tf32", "int8", "int4", "fp8"])
GRADE = GradeLimit()
FILE = click.Path(path_type=Path, dir_okay=False)


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Makes the keys of the file the defaults of the flags. A flag on the command line takes precedence."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            keys = {key.replace("-", "_"): value for key, value in tomllib.load(file).items()}
    except OSError as error:
        raise click.BadParameter(f"cannot read {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise click.BadParameter(f"{path}: {error}") from error
    known = {option.name for option in ctx.command.params} - {"config"}
    unknown = sorted(set(keys) - known)
    if unknown:
        raise click.BadParameter(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(sorted(filter(None, known)))}")
    ctx.default_map = {**(ctx.default_map or {}), **keys}
    return path


@cloup.group(
    formatter_settings=FORMATTER,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with:  engine serve    The API: proto/embed/v1/embed.proto",
)
@cloup.version_option(__version__, prog_name="engine")
def cli() -> None:
    """Serves an embedding model over gRPC: batches requests dynamically, switches backend and precision under load."""


@cli.command(
    epilog="Stop it with Ctrl+C: it answers the requests that it has accepted and exits. A second Ctrl+C exits at once."
)
@option_group(
    "Address",
    option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        help="Address to bind; other machines reach it unless it is a loopback address.",
    ),
    option(
        "--port",
        type=click.IntRange(0, 65535),
        default=50051,
        show_default=True,
        metavar="N",
        help="0: any free port.",
    ),
    option(
        "--lifeline",
        type=click.Choice(["none", "stdin"]),
        default="none",
        show_default=True,
        help="stdin: drain and exit when stdin, a pipe, ends. The line `detach` on it ends this.",
    ),
)
@option_group(
    "Deployment",
    option("--model", default="", metavar="ID|DIR", help="Hub id or folder.  [default: all-MiniLM-L6-v2, bundled]"),
    option(
        "--backend",
        type=BACKEND,
        default="auto",
        show_default=True,
        help="The runtime.",
    ),
    option(
        "--precision",
        type=PRECISION,
        default="auto",
        show_default=True,
        help="auto uses fp32, never a lower precision.",
    ),
    option(
        "--recipe",
        default="",
        metavar="NAME",
        help="The way to reach the precision, if there are several.  [default: the best one]",
    ),
    option(
        "--calibration", type=FILE, metavar="FILE", help="Your own texts, one per line, for recipes that calibrate."
    ),
    option("--strict", is_flag=True, help="Fail instead of falling back to another backend or precision."),
    option(
        "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="The device to run on."
    ),
)
@option_group(
    "Resources and batching",
    option(
        "--instances",
        type=AutoOrCount(),
        metavar="auto|N",
        default="auto",
        show_default=True,
        help="Concurrent forward passes.",
    ),
    option(
        "--threads",
        type=AutoOrCount(),
        metavar="auto|N",
        default="auto",
        show_default=True,
        help="Threads per forward pass.",
    ),
    option(
        "--max-batch-tokens",
        type=AutoOrCount(),
        metavar="auto|N",
        default="auto",
        show_default=True,
        help="Tokens per forward pass, padding included.",
    ),
    option(
        "--max-batch-items",
        type=AutoOrCount(),
        metavar="auto|N",
        default="auto",
        show_default=True,
        help="Texts per forward pass.",
    ),
    option(
        "--tune/--no-tune",
        default=True,
        show_default=True,
        help="Measure the values of auto if they were never measured here (seconds, once).",
    ),
    option(
        "--max-wait-ms",
        metavar="MS",
        type=click.FloatRange(0, 1000),
        default=0.0,
        show_default=True,
        help="How long an idle instance waits for a fuller batch; 0 never waits.",
    ),
    option(
        "--coalesce",
        type=click.Choice(["on", "off"]),
        default="on",
        show_default=True,
        help="Put several requests into one batch; off: one request per batch.",
    ),
    option(
        "--config",
        type=click.Path(path_type=Path),
        callback=_read_config,
        is_eager=True,
        metavar="FILE.toml",
        help="Defaults for these flags, by name.",
    ),
)
@LIMIT_OPTIONS
@option_group(
    "Health and end",
    option(
        "--max-pass-s",
        type=click.FloatRange(0, 3600),
        default=0.0,
        show_default=True,
        metavar="S",
        help="Seconds after which a forward pass counts as hung; 0: from the measured cost of such a pass.",
    ),
    option(
        "--probe-idle-s",
        type=click.FloatRange(1, 3600),
        default=30.0,
        show_default=True,
        metavar="S",
        help="Seconds without a successful forward pass after which a known text is run to decide about health.",
    ),
    option(
        "--grace-s",
        type=click.FloatRange(0, 3600),
        default=30.0,
        show_default=True,
        metavar="S",
        help="Seconds to end after a signal; requests that are unanswered then get UNAVAILABLE.",
    ),
    option("--allow-faults", is_flag=True, help="Inject the faults of the file that ENGINE_FAULTS names, for tests."),
)
def serve(**flags: Any) -> None:
    """Serve until stopped.

    Prints one JSON line to stdout when it serves, with the address; progress and log go to stderr.
    """
    # grpc reads this at import. The preparation process starts with exec, so fork support would only log warnings.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    from engine.server.serve import run_server

    raise SystemExit(run_server(flags))


@cli.command()
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@option(
    "--platform",
    type=click.Choice(["macos-arm64", "macos-x86_64", "linux-x86_64", "linux-arm64", "linux-cuda"]),
    help="Show another platform.  [default: this machine]",
)
@option(
    "--probe/--no-probe",
    default=True,
    show_default=True,
    help="Run each cell once with a tiny model; results are kept.",
)
@option(
    "--model",
    default="",
    metavar="ID|DIR",
    help="Show the last measurements of this model.  [default: the bundled one]",
)
def capabilities(as_json: bool, platform: str | None, probe: bool, model: str) -> None:
    """Show what can run here, what runs instead, and why."""
    from engine.commands.capabilities import capabilities_report

    click.echo(capabilities_report(platform, model, probe=probe, as_json=as_json))


@cli.command()
@option("--backend", type=BACKEND, default="auto", show_default=True, help="The runtime.")
@option("--precision", type=PRECISION, default="auto", show_default=True, help="auto uses fp32.")
@option(
    "--recipe",
    default="",
    metavar="NAME",
    help="The way to reach the precision, if there are several.  [default: the best one]",
)
@option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="The device to run on.")
@option("--strict", is_flag=True, help="Fail instead of measuring a fallback.")
@option("--model", default="", metavar="ID|DIR", help="Hub id or folder.  [default: all-MiniLM-L6-v2, bundled]")
@option("--corpus", type=FILE, metavar="FILE", help="Your own texts, one per line.  [default: built-in prose]")
@option(
    "--calibration",
    type=FILE,
    metavar="FILE",
    help="Texts for recipes that calibrate; they are left out of the corpus.",
)
@option(
    "--green",
    type=GRADE,
    default="0.995,0.92",
    show_default=True,
    metavar="COSINE,OVERLAP",
    help="Lower limits of green.",
)
@option(
    "--amber",
    type=GRADE,
    default="0.98,0.85",
    show_default=True,
    metavar="COSINE,OVERLAP",
    help="Lower limits of amber.",
)
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def fidelity(**flags: Any) -> None:
    """Measure how close the vectors of a cell are to fp32, on built-in prose or on your own texts."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from engine.commands.fidelity import FidelityOptions, run_fidelity
    from engine.deployment.target import Target
    from engine.fidelity.metrics import GradeLimits, Limit

    target = Target(flags["backend"], flags["precision"], flags["recipe"], flags["device"], flags["model"])
    limits = GradeLimits(Limit(*flags["green"]), Limit(*flags["amber"]))
    options = FidelityOptions(target, flags["corpus"], flags["calibration"], flags["strict"], limits)
    raise SystemExit(run_fidelity(options, as_json=flags["as_json"]))


@cli.command()
@option("--backend", type=BACKEND, help="The runtime to prepare for.")
@option("--precision", type=PRECISION, default="fp32", show_default=True, help="The precision to prepare.")
@option(
    "--recipe",
    default="",
    metavar="NAME",
    help="The way to reach the precision, if there are several.  [default: the best one]",
)
@option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N]|mps",
    help="The device that it will run on.",
)
@option("--calibration", type=FILE, metavar="FILE", help="Your own texts, one per line, for recipes that calibrate.")
@option("--model", default="", metavar="ID|DIR", help="Hub id or folder.  [default: all-MiniLM-L6-v2, bundled]")
@option("--list", "list_them", is_flag=True, help="List the prepared artifacts and their sizes.")
@option("--prune", is_flag=True, help="Delete all prepared artifacts; they are made again when needed.")
def export(backend: str | None, list_them: bool, prune: bool, **flags: Any) -> None:
    """Prepare a deployment ahead of time, so that its first start is as fast as later ones."""
    from engine.commands.export import list_artifacts, prepare_artifact, prune_artifacts

    if sum((backend is not None, list_them, prune)) != 1:
        raise click.UsageError("choose one of --backend B, --list, --prune")
    if list_them:
        click.echo(list_artifacts())
    elif prune:
        click.echo(prune_artifacts())
    elif backend is not None:
        raise SystemExit(prepare_artifact(backend=backend, **flags))


@cli.command()
@option("--backend", type=BACKEND, help="The runtime to measure.  [default: every native cell]")
@option("--precision", type=PRECISION, default="auto", show_default=True, help="auto uses fp32.")
@option(
    "--recipe",
    default="",
    metavar="NAME",
    help="The way to reach the precision, if there are several.  [default: the best one]",
)
@option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="The device to run on.")
@option("--model", default="", metavar="ID|DIR", help="Hub id or folder.  [default: all-MiniLM-L6-v2, bundled]")
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def tune(backend: str | None, as_json: bool, **flags: Any) -> None:
    """Measure the best instances × threads and batch bounds of a cell on this machine, and keep them."""
    from engine.commands.tune import tune_cells

    raise SystemExit(tune_cells(backend=backend, as_json=as_json, **flags))


def main() -> None:
    """Runs the command line. A usage error exits with 3, because 2 has another meaning in this project's commands."""
    open_standard_streams()
    try:
        cli.main(prog_name="engine", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.FAILED)
    except click.Abort:
        sys.exit(130)


if __name__ == "__main__":
    main()
