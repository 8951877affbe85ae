"""The flags of `embedconsole --web`, and the command that each browser window then runs."""

import shlex
import sys

import click
from cloup import option, option_group

WEB_OPTIONS = option_group(
    "In a browser instead of on this terminal (needs the extra `web`)",
    option("--web", is_flag=True, help="Serve the console; each browser window is a console of its own."),
    option("--web-host", default="127.0.0.1", show_default=True, metavar="HOST", help="Where the page is served."),
    option(
        "--web-port",
        type=click.IntRange(1, 65535),
        default=8000,
        show_default=True,
        metavar="N",
        help="Port of the page.",
    ),
    option("--web-url", default="", metavar="URL", help="How browsers reach it, if not by host and port: a proxy's."),
)
_OF_THE_PAGE = {"web", "web_host", "web_port", "web_url"}


def command_of(context: click.Context) -> str:
    """This very command with all it was given, but on the terminal that a browser window is. Raises UsageError."""
    given = {
        parameter.name: parameter
        for parameter in context.command.params
        if context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
    }
    words = [sys.executable, "-m", "console.cli"]
    for name, parameter in given.items():
        if name in _OF_THE_PAGE or name is None:
            continue
        value = context.params[name]
        words += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    return shlex.join(words)
