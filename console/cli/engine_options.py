"""The flags that say which engine: shared by every command that starts or finds one."""

from typing import TYPE_CHECKING, Any

import click
from cloup import option, option_group

from console.cli.param_types import Address, AutoOrCount

if TYPE_CHECKING:
    from console.model.engine import EngineSpec

ENGINE_OPTIONS = option_group(
    "Which engine",
    option("--connect", type=Address(), default=None, metavar="ADDR", help="One that runs already, at host:port."),
    option("--model", default="", metavar="ID|DIR", help="Hub id or directory.  [default: all-MiniLM-L6-v2, bundled]"),
    option(
        "--backend",
        type=click.Choice(["auto", "torch", "onnx", "openvino"]),
        default="auto",
        show_default=True,
        help="The runtime.",
    ),
    option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16", "tf32", "int8", "int4", "fp8"]),
        default="auto",
        show_default=True,
        help="auto never goes below fp32.",
    ),
    option("--recipe", default="", metavar="NAME", help="How the precision is reached, where there are several ways."),
    option("--strict", is_flag=True, help="Fail instead of falling back to another backend or precision."),
    option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="Where it runs."),
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
        "--coalesce",
        type=click.Choice(["on", "off"]),
        default=None,
        help="Several requests in one batch, or one request, one batch.  [default: on]",
    ),
    option("--max-batch-tokens", type=click.IntRange(1), metavar="N", help="Padded tokens in a forward pass."),
    option("--max-batch-items", type=click.IntRange(1), metavar="N", help="Texts in a forward pass."),
    option(
        "--port",
        type=click.IntRange(0, 65535),
        default=0,
        metavar="N",
        help="Where it listens.  [default: 0, any free]",
    ),
)

_STARTING = (
    *("model", "backend", "precision", "recipe", "strict", "device", "instances", "threads", "port"),
    *("max_batch_tokens", "max_batch_items"),
)
"""What belongs to an engine that is started, not to one that runs."""


def names_an_engine(flags: dict[str, Any]) -> bool:
    """Whether the command line says anything of the engine itself."""
    source = click.get_current_context().get_parameter_source
    asked = any(source(name) is click.core.ParameterSource.COMMANDLINE for name in (*_STARTING, "coalesce"))
    return asked or bool(flags["connect"])


def engine_spec(flags: dict[str, Any]) -> "EngineSpec":
    """The engine to start, from the flags of `ENGINE_OPTIONS`. Raises UsageError with --connect."""
    from console.model.engine import EngineSpec

    if flags["connect"]:
        context = click.get_current_context()
        for name in _STARTING:
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
                flag = "--" + name.replace("_", "-")
                raise click.UsageError(f"{flag} starts an engine, --connect uses one that runs: give one of them")

    def named(name: str) -> str:
        return "" if flags[name] == "auto" else str(flags[name])

    return EngineSpec(
        model=flags["model"],
        backend=named("backend"),
        precision=named("precision"),
        recipe=flags["recipe"],
        device=named("device"),
        instances=flags["instances"],
        threads=flags["threads"],
        strict=flags["strict"],
        coalesce=flags["coalesce"] != "off",
        port=flags["port"],
        max_batch_tokens=flags["max_batch_tokens"] or 0,
        max_batch_items=flags["max_batch_items"] or 0,
    )
