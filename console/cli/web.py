"""The console in a browser: textual-serve runs one console per window and transfers its screen and keys.

Closing a window ends its console, and the engine and load that the console started. The page can start processes, so
the server accepts connections only from its own pages: it checks the Origin header that browsers send.
"""

import asyncio
import ipaddress
import signal
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from console.model.exit_codes import ExitCode

if TYPE_CHECKING:
    from aiohttp import web

INSTALL = "pip install 'embedconsole[web]'"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
ALL_INTERFACES = ("0.0.0.0", "::", "")  # noqa: S104 - addresses that cause a warning


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def public_url(host: str, port: int, asked: str = "") -> str:
    """Returns the URL of the page: `asked` if given, else from host and port."""
    if asked:
        return asked.rstrip("/")
    name = socket.gethostname() if host in ALL_INTERFACES else host
    return f"http://[{name}]:{port}" if ":" in name.strip("[]") else f"http://{name}:{port}"


def origins(host: str, port: int, url: str) -> frozenset[str]:
    """Returns the allowed values of the Origin header: the page's own, and every loopback name of a loopback host."""
    parts = urlsplit(url)
    own = {f"{parts.scheme}://{parts.netloc}"}
    if is_loopback(host):
        own |= {f"http://{name}:{port}" for name in LOOPBACK_NAMES}
    return frozenset(own)


def serve(command: str, host: str, port: int, asked_url: str = "") -> int:
    """Serves the console until Ctrl+C and returns the exit code. Each window runs `command`. Raises ClickException."""
    try:
        make = _server_class()
    except ImportError as error:
        raise click.ClickException(f"--web needs textual-serve, which is not installed: {INSTALL}") from error
    url = public_url(host, port, asked_url)
    if not is_loopback(host):
        click.echo(
            f"embedconsole: ⚠ other machines can reach {host}: anyone who opens the page can start processes here",
            err=True,
        )
    server = make(command, host, port, url, origins(host, port, url))
    try:
        server.serve()
    except OSError as error:
        raise click.ClickException(
            f"cannot serve at {host}:{port} ({error.strerror}): choose another --web-port"
        ) from error
    return ExitCode.OK


def _server_class() -> Any:
    """Returns textual-serve's server with a check of the Origin header and its own messages. Raises ImportError."""
    from aiohttp import web
    from textual_serve.server import Server

    class ConsoleServer(Server):
        """Prints its address to stderr and logs nothing."""

        def __init__(self, command: str, host: str, port: int, url: str, allowed: frozenset[str]) -> None:
            super().__init__(command, host=host, port=port, title="embedconsole", public_url=url)
            self._allowed = allowed

        def initialize_logging(self) -> None:
            """Configures no handler: the standard library writes warnings and errors to stderr."""

        async def on_startup(self, app: "web.Application") -> None:
            """Prints nothing: the server does not listen yet. `_announce` prints the address."""

        def serve(self, debug: bool = False) -> None:
            self.debug = debug
            loop = asyncio.new_event_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.request_exit)
            app = self._make_app()
            web.run_app(app, host=self.host, port=self.port, handle_signals=False, loop=loop, print=self._announce)

        def _announce(self, *_: object) -> None:
            """Called when the server listens."""
            click.echo(f"embedconsole: open {self.public_url} in a browser; Ctrl+C stops the server", err=True)

        async def handle_websocket(self, request: "web.Request") -> "web.WebSocketResponse":
            if request.headers.get("Origin", "") not in self._allowed:
                raise web.HTTPForbidden(text=f"Only pages of {self.public_url} may use this console")
            return await super().handle_websocket(request)

    return ConsoleServer
