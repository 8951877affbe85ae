"""`engine`: serve, capabilities, fidelity, export, tune. Nothing heavy is imported before a command needs it."""

import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import cloup
from cloup import HelpFormatter, option, option_group

from engine import __version__
from engine.exit_codes import ExitCode

FORMATTER = HelpFormatter.settings(max_width=100, col1_max_width=32, col2_min_width=30)


class AutoOrCount(click.ParamType[int]):
    """`auto` (0) or a whole number from 1."""

    name = "auto or N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """0 for auto."""
        if value in ("auto", 0):
            return 0
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"{value!r} is neither `auto` nor a whole number from 1", param, ctx)
        return number


class GradeLimit(click.ParamType[tuple[float, float]]):
    """`0.995,0.92`: mean cosine and overlap@10."""

    name = "COSINE,OVERLAP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Both between 0 and 1."""
        try:
            cosine, overlap = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not two numbers with a comma between them", param, ctx)
        if not (0 <= cosine <= 1 and 0 <= overlap <= 1):
            self.fail(f"{value!r}: both numbers lie between 0 and 1", param, ctx)
        return cosine, overlap


BACKEND = click.Choice(["auto", "torch", "onnx", "openvino"])
PRECISION = click.Choice(["auto", "fp32", "bf16", "fp16", "tf32", "int8", "int4", "fp8"])
GRADE = GradeLimit()
FILE = click.Path(path_type=Path, dir_okay=False)


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Makes the file's keys the defaults of the flags: a flag on the command line still wins."""
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
    epilog="Start here:  engine serve    then, from any language, proto/embed/v1/embed.proto",
)
@cloup.version_option(__version__, prog_name="engine")
def cli() -> None:
    """Serves an embedding model over gRPC: batches requests as they come, switches backend and precision live."""


@cli.command(epilog="Stop it with Ctrl+C: it answers what it has and exits. Twice ends at once.")
@option_group(
    "Where it listens",
    option(
        "--host", default="127.0.0.1", show_default=True, help="Address to bind; others than loopback are reachable."
    ),
    option(
        "--port",
        type=click.IntRange(0, 65535),
        default=50051,
        show_default=True,
        metavar="N",
        help="0 picks a free port.",
    ),
)
@option_group(
    "What it runs",
    option("--model", default="", metavar="ID|DIR", help="Hub id or directory.  [default: all-MiniLM-L6-v2, bundled]"),
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
        help="auto never goes below fp32.",
    ),
    option("--recipe", default="", metavar="NAME", help="How the precision is reached, where there are several ways."),
    option("--calibration", type=FILE, metavar="FILE", help="Your own texts, one a line, for recipes that calibrate."),
    option("--strict", is_flag=True, help="Fail instead of falling back to another backend or precision."),
    option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="Where it runs."),
)
@option_group(
    "How it uses the machine",
    option(
        "--instances",
        type=AutoOrCount(),
        metavar="auto|N",
        default="auto",
        show_default=True,
        help="Forward passes at a time.",
    ),
    option(
        "--threads",
        type=AutoOrCount(),
        metavar="auto|N",
        default="auto",
        show_default=True,
        help="Threads of one forward pass.",
    ),
    option(
        "--max-batch-tokens",
        type=AutoOrCount(),
        metavar="auto|N",
        default="auto",
        show_default=True,
        help="Of one forward pass, padding included.",
    ),
    option(
        "--max-batch-items",
        type=AutoOrCount(),
        metavar="auto|N",
        default="auto",
        show_default=True,
        help="Texts in a forward pass.",
    ),
    option(
        "--tune/--no-tune",
        default=True,
        show_default=True,
        help="Measure what auto is to stand for, where that was never done (seconds, once).",
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
        help="Several requests in one batch; off is one request, one batch.",
    ),
    option(
        "--config",
        type=click.Path(path_type=Path),
        callback=_read_config,
        is_eager=True,
        metavar="FILE.toml",
        help="Defaults for these flags; keys are their names.",
    ),
)
def serve(**flags: Any) -> None:
    """Serve until told to stop.

    One JSON line on stdout says when and where it serves; phases and log go to stderr.
    """
    # Read when grpc is imported. The preparer is started by exec, so grpc has nothing to do at a fork but to complain.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    from engine.server.serve import run_server

    raise SystemExit(run_server(flags))


@cli.command()
@option("--json", "as_json", is_flag=True, help="The whole table as one JSON object.")
@option(
    "--platform",
    type=click.Choice(["macos-arm64", "macos-x86_64", "linux-x86_64", "linux-arm64", "linux-cuda"]),
    help="A machine you do not have.  [default: this one]",
)
@option("--probe/--no-probe", default=True, show_default=True, help="Try each cell once with a tiny model; remembered.")
@option("--model", default="", metavar="ID|DIR", help="Whose last measurements to show.  [default: the bundled one]")
def capabilities(as_json: bool, platform: str | None, probe: bool, model: str) -> None:
    """What can run here, what is used instead, and why."""
    from engine.commands.capabilities import capabilities_report

    click.echo(capabilities_report(platform, model, probe=probe, as_json=as_json))


@cli.command()
@option("--backend", type=BACKEND, default="auto", show_default=True, help="The runtime.")
@option("--precision", type=PRECISION, default="auto", show_default=True, help="auto is fp32.")
@option("--recipe", default="", metavar="NAME", help="How the precision is reached, where there are several ways.")
@option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="Where it runs.")
@option("--strict", is_flag=True, help="Fail instead of measuring what would be used instead.")
@option("--model", default="", metavar="ID|DIR", help="Hub id or directory.  [default: all-MiniLM-L6-v2, bundled]")
@option("--corpus", type=FILE, metavar="FILE", help="Your own texts, one a line.  [default: built-in prose]")
@option("--calibration", type=FILE, metavar="FILE", help="Texts that calibrate, where the recipe does: not judged on.")
@option(
    "--green", type=GRADE, default="0.995,0.92", show_default=True, metavar="COSINE,OVERLAP", help="Least of green."
)
@option("--amber", type=GRADE, default="0.98,0.85", show_default=True, metavar="COSINE,OVERLAP", help="Least of amber.")
@option("--json", "as_json", is_flag=True, help="One JSON object.")
def fidelity(**flags: Any) -> None:
    """How close a cell's vectors are to fp32: measured on real prose, or on your own texts."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from engine.commands.fidelity import Question, run_fidelity
    from engine.deployment.target import Target
    from engine.fidelity.metrics import GradeLimits, Limit

    target = Target(flags["backend"], flags["precision"], flags["recipe"], flags["device"], flags["model"])
    limits = GradeLimits(Limit(*flags["green"]), Limit(*flags["amber"]))
    question = Question(target, flags["corpus"], flags["calibration"], flags["strict"], limits)
    raise SystemExit(run_fidelity(question, as_json=flags["as_json"]))


@cli.command()
@option("--backend", type=BACKEND, help="What to prepare.")
@option("--precision", type=PRECISION, default="fp32", show_default=True, help="At which precision.")
@option("--recipe", default="", metavar="NAME", help="How the precision is reached, where there are several ways.")
@option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="Where it will run.")
@option("--calibration", type=FILE, metavar="FILE", help="Your own texts, one a line, for recipes that calibrate.")
@option("--model", default="", metavar="ID|DIR", help="Hub id or directory.  [default: all-MiniLM-L6-v2, bundled]")
@option("--list", "list_them", is_flag=True, help="What is prepared, and its size on disk.")
@option("--prune", is_flag=True, help="Delete everything that is prepared; it is made again when needed.")
def export(backend: str | None, list_them: bool, prune: bool, **flags: Any) -> None:
    """Prepare a deployment ahead of time, so that the first start is as quick as every other."""
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
@option("--backend", type=BACKEND, help="Which cell to measure.  [default: every one that is native here]")
@option("--precision", type=PRECISION, default="auto", show_default=True, help="auto is fp32.")
@option("--recipe", default="", metavar="NAME", help="How the precision is reached, where there are several ways.")
@option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="Where it runs.")
@option("--model", default="", metavar="ID|DIR", help="Hub id or directory.  [default: all-MiniLM-L6-v2, bundled]")
@option("--json", "as_json", is_flag=True, help="One JSON object.")
def tune(backend: str | None, as_json: bool, **flags: Any) -> None:
    """Measure how a cell uses this machine best: instances × threads, and how large a batch pays. Remembered."""
    from engine.commands.tune import tune_cells

    raise SystemExit(tune_cells(backend=backend, as_json=as_json, **flags))


def main() -> None:
    """Entry point: usage errors exit 3, since 2 means something else in this project's commands."""
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
