"""The flags that say which load: shared by every command that sends one."""

from typing import TYPE_CHECKING, Any

import click
from cloup import option, option_group

from console.cli.param_types import Duration

if TYPE_CHECKING:
    from console.model.load import LoadSpec

LOAD_OPTIONS = option_group(
    "Which load (a closed loop: each caller waits for its answer; with --rate an open one, which never waits)",
    option("--batch", type=click.IntRange(1, 100_000), default=32, metavar="N", help="Texts a request.  [default: 32]"),
    option("--concurrency", type=click.IntRange(1, 4096), default=4, metavar="N", help="In flight.  [default: 4]"),
    option(
        "--rate",
        type=click.FloatRange(0.0, 100_000.0, min_open=True),
        metavar="R",
        help="Requests a second on a schedule, instead of --concurrency; latency counts from the scheduled time.",
    ),
    option(
        "--arrival",
        type=click.Choice(["poisson", "constant"]),
        default="poisson",
        show_default=True,
        help="The gaps between them.",
    ),
    option(
        "--ramp",
        type=Duration(0.0),
        default="0s",
        metavar="TIME",
        help="The rate (or the concurrency) rises linearly for so long, before the warm-up.  [default: 0s]",
    ),
    option(
        "--max-in-flight",
        type=click.IntRange(1, 65_536),
        default=1024,
        show_default=True,
        metavar="N",
        help="With --rate: arrivals that find so many unanswered are dropped, and counted.",
    ),
    option(
        "--workload",
        type=click.Choice(["texts", "pairs"]),
        default="texts",
        show_default=True,
        help="Embed texts, or score pairs of texts with Similarity.",
    ),
    option(
        "--corpus",
        default="short",
        show_default=True,
        metavar="NAME|FILE",
        help="short, mixed, long, or a UTF-8 file with one text a line.",
    ),
    option("--stream", is_flag=True, help="One stream a caller instead of one call a request."),
    option("--seed", type=int, default=0, metavar="N", show_default=True, help="Of generated corpora and arrivals."),
)


def load_spec(flags: dict[str, Any]) -> "LoadSpec":
    """The load from the flags of `LOAD_OPTIONS`. Raises UsageError for what does not go together."""
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
