"""The options of `embedconsole --web`, and the command that each browser window runs."""

import shlex
import sys

import click
from cloup import option, option_group

WEB_OPTIONS = option_group(
    "Browser (requires the extra `web`)",
    option("--web", is_flag=True, help="Serve the console to browsers; each window runs a separate console."),
    option("--web-host", default="127.0.0.1", show_default=True, metavar="HOST", help="Address of the page."),
    option(
        "--web-port",
        type=click.IntRange(1, 65535),
        default=8000,
        show_default=True,
        metavar="N",
        help="Port of the page.",
    ),
    option("--web-url", default="", metavar="URL", help="Public URL, as behind a proxy.  [default: host and port]"),
)
_PAGE_OPTIONS = {"web", "web_host", "web_port", "web_url"}


def command_of(context: click.Context) -> str:
    """Returns the shell command of a browser window: this command line without the options of the page."""
    given = {
        parameter.name: parameter
        for parameter in context.command.params
        if context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
    }
    words = [sys.executable, "-P", "-m", "console.cli"]
    for name, parameter in given.items():
        if name in _PAGE_OPTIONS or name is None:
            continue
        value = context.params[name]
        words += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    return shlex.join(words)
