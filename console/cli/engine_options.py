"""The options that select the engine, shared by every command that starts or uses one."""

from typing import TYPE_CHECKING, Any

import click
from cloup import option, option_group

from console.cli.param_types import Address, AutoOrCount

if TYPE_CHECKING:
    from console.model.engine import EngineSpec

ENGINE_OPTIONS = option_group(
    "Engine",
    option("--connect", type=Address(), default=None, metavar="ADDR", help="Use a running engine at host:port."),
    option(
        "--model",
        default="",
        metavar="ID|DIR",
        help="Hugging Face id or directory of the model.  [default: all-MiniLM-L6-v2, bundled]",
    ),
    option(
        "--backend",
        type=click.Choice(["auto", "torch", "onnx", "openvino"]),
        default="auto",
        show_default=True,
        help="Runtime: PyTorch, ONNX Runtime or OpenVINO.",
    ),
    option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16", "tf32", "int8", "int4", "fp8"]),
        default="auto",
        show_default=True,
        help="Precision; auto uses fp32, never a lower one.",
    ),
    option(
        "--recipe",
        default="",
        metavar="NAME",
        help="Method that produces the precision.  [default: chosen by the engine]",
    ),
    option("--strict", is_flag=True, help="Fail instead of falling back to another backend or precision."),
    option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="Device."),
    option(
        "--instances",
        type=AutoOrCount(),
        metavar="auto|N",
        default="auto",
        show_default=True,
        help="Number of concurrent forward passes.",
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
        "--coalesce",
        type=click.Choice(["on", "off"]),
        default=None,
        help="Batch texts of several requests together.  [default: on]",
    ),
    option(
        "--max-batch-tokens",
        type=click.IntRange(1),
        metavar="N",
        help="Maximum padded tokens per forward pass.  [default: chosen by the engine]",
    ),
    option(
        "--max-batch-items",
        type=click.IntRange(1),
        metavar="N",
        help="Maximum texts per forward pass.  [default: chosen by the engine]",
    ),
    option(
        "--port",
        type=click.IntRange(0, 65535),
        default=0,
        metavar="N",
        help="Port of the engine.  [default: 0, any free port]",
    ),
)

_STARTING = (
    *("model", "backend", "precision", "recipe", "strict", "device", "instances", "threads", "port"),
    *("max_batch_tokens", "max_batch_items"),
)
"""Options that apply only to an engine that the command starts."""


def names_an_engine(flags: dict[str, Any]) -> bool:
    """Whether the command line has an option of the engine."""
    source = click.get_current_context().get_parameter_source
    asked = any(source(name) is click.core.ParameterSource.COMMANDLINE for name in (*_STARTING, "coalesce"))
    return asked or bool(flags["connect"])


def engine_spec(flags: dict[str, Any]) -> "EngineSpec":
    """Returns the engine to start, from the values of `ENGINE_OPTIONS`.

    Raises UsageError if an option of a new engine is combined with --connect, and for --strict without a cell.
    """
    from console.model.engine import EngineSpec

    if flags["connect"]:
        context = click.get_current_context()
        for name in _STARTING:
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
                flag = "--" + name.replace("_", "-")
                raise click.UsageError(f"{flag} starts an engine, --connect uses a running one: give one of them")

    if flags["strict"] and not (
        flags["recipe"] or any(flags[name] != "auto" for name in ("backend", "precision", "device"))
    ):
        raise click.UsageError("--strict needs a cell: name --backend or --precision (auto never falls back)")

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
