"""The options that describe the load, shared by every command that sends one."""

from typing import TYPE_CHECKING, Any

import click
from cloup import option, option_group

from console.cli.param_types import Duration

if TYPE_CHECKING:
    from console.model.load import LoadSpec

LOAD_OPTIONS = option_group(
    "Load (closed loop: each caller waits for its response; with --rate an open loop, which sends on a schedule)",
    option(
        "--batch",
        type=click.IntRange(1, 100_000),
        default=32,
        show_default=True,
        metavar="N",
        help="Texts per request.",
    ),
    option(
        "--concurrency",
        type=click.IntRange(1, 4096),
        default=4,
        show_default=True,
        metavar="N",
        help="Requests in flight.",
    ),
    option(
        "--rate",
        type=click.FloatRange(0.0, 100_000.0, min_open=True),
        metavar="R",
        help="Requests per second of an open loop, instead of --concurrency; latency counts from the scheduled time.",
    ),
    option(
        "--arrival",
        type=click.Choice(["poisson", "constant"]),
        default="poisson",
        show_default=True,
        help="Arrival process of the open loop.",
    ),
    option(
        "--ramp",
        type=Duration(0.0),
        default="0s",
        show_default=True,
        metavar="TIME",
        help="Time of a linear rise of the rate or concurrency before the warm-up.",
    ),
    option(
        "--max-in-flight",
        type=click.IntRange(1, 65_536),
        default=1024,
        show_default=True,
        metavar="N",
        help="Limit of requests in flight with --rate; arrivals above it are dropped and counted.",
    ),
    option(
        "--workload",
        type=click.Choice(["texts", "pairs"]),
        default="texts",
        show_default=True,
        help="Embed texts, or score pairs of texts.",
    ),
    option(
        "--corpus",
        default="short",
        show_default=True,
        metavar="NAME|FILE",
        help="Texts to send: short, mixed, long, or a UTF-8 file with one text per line.",
    ),
    option("--stream", is_flag=True, help="Use one stream per caller instead of one call per request."),
    option(
        "--seed", type=int, default=0, metavar="N", show_default=True, help="Seed of generated corpora and arrivals."
    ),
)


def load_spec(flags: dict[str, Any]) -> "LoadSpec":
    """Returns the load from the values of `LOAD_OPTIONS`. Raises UsageError for options that exclude each other."""
    from console.model.load import LoadSpec

    if flags["stream"] and flags["workload"] == "pairs":
        raise click.UsageError("--workload pairs has no stream: leave out --stream")
    if flags["rate"] is None:
        context = click.get_current_context()
        for name in ("arrival", "max_in_flight"):
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
                flag = "--" + name.replace("_", "-")
                raise click.UsageError(f"{flag} belongs to an open loop: give --rate too, or leave it out")
    return LoadSpec(
        batch=flags["batch"],
        concurrency=flags["concurrency"],
        workload=flags["workload"],
        corpus=flags["corpus"],
        stream=flags["stream"],
        seed=flags["seed"],
        rate=flags["rate"] or 0.0,
        arrival=flags["arrival"],
        ramp_s=flags["ramp"],
        max_in_flight=flags["max_in_flight"],
    )
