"""The console in a browser: textual-serve runs one console for each window and carries its picture and its keys.

A window that is closed ends its console, and with it the engine and the load that it started. The page can start
processes, so only pages of this very address may talk to it: browsers tell where a page came from, and a page of
somewhere else is refused.
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
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - the addresses that are warned of


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def public_url(host: str, port: int, asked: str = "") -> str:
    """How a browser reaches the page."""
    if asked:
        return asked.rstrip("/")
    name = socket.gethostname() if host in EVERYWHERE else host
    return f"http://[{name}]:{port}" if ":" in name.strip("[]") else f"http://{name}:{port}"


def origins(host: str, port: int, url: str) -> frozenset[str]:
    """The pages that may talk to the console: its own, under each name that this machine has for itself."""
    parts = urlsplit(url)
    own = {f"{parts.scheme}://{parts.netloc}"}
    if is_loopback(host):
        own |= {f"http://{name}:{port}" for name in LOOPBACK_NAMES}
    return frozenset(own)


def serve(command: str, host: str, port: int, asked_url: str = "") -> int:
    """Serves until Ctrl+C. `command` is run for every window. Raises ClickException where it cannot be served."""
    try:
        make = _server_class()
    except ImportError as error:
        raise click.ClickException(f"--web needs textual-serve, which is not installed: {INSTALL}") from error
    url = public_url(host, port, asked_url)
    if not is_loopback(host):
        click.echo(
            f"embedconsole: ⚠ other machines can reach {host}: whoever opens the page can start processes on this one",
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
    """textual-serve's server, with our words and a look at where a page comes from. Raises ImportError."""
    from aiohttp import web
    from textual_serve.server import Server

    class ConsoleServer(Server):
        """Says its address on stderr; its log is silent."""

        def __init__(self, command: str, host: str, port: int, url: str, allowed: frozenset[str]) -> None:
            super().__init__(command, host=host, port=port, title="embedconsole", public_url=url)
            self._allowed = allowed

        def initialize_logging(self) -> None:
            """Nothing but what goes wrong, which the standard library writes to stderr."""

        async def on_startup(self, app: "web.Application") -> None:
            """Nothing yet: the address does not answer before the start is over."""

        def serve(self, debug: bool = False) -> None:
            self.debug = debug
            loop = asyncio.new_event_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.request_exit)
            app = self._make_app()
            web.run_app(app, host=self.host, port=self.port, handle_signals=False, loop=loop, print=self._announce)

        def _announce(self, *_: object) -> None:
            """Called once the address answers."""
            click.echo(f"embedconsole: open {self.public_url} in a browser; Ctrl+C ends it", err=True)

        async def handle_websocket(self, request: "web.Request") -> "web.WebSocketResponse":
            if request.headers.get("Origin", "") not in self._allowed:
                raise web.HTTPForbidden(text=f"Only pages of {self.public_url} may use this console")
            return await super().handle_websocket(request)

    return ConsoleServer
