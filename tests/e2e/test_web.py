"""The console in a browser: drawn there, deaf to anybody else's page, and gone with everything when its window closes.

Without a browser the page's own wire is looked at instead; where EMBEDCONSOLE_REQUIRE_BROWSER is set that is a failure.
"""

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psutil
import pytest

from tests.e2e.browser import FLAGS, browser
from tests.support.patience import HANGS_AFTER_S

LINES = 40
ONE_THREAD = ("--backend", "onnx", "--precision", "fp32", "--instances", "1", "--threads", "1")
"""A given plan, so that the engine does not tune at its start."""
DRAWN = f"""new Promise(drawn => setInterval(() => {{
  const layer = document.querySelector('canvas.xterm-text-layer');
  if (!layer || !document.body.classList.contains('-first-byte')) return;
  const pixels = new Uint32Array(layer.getContext('2d').getImageData(0, 0, layer.width, layer.height).data.buffer);
  const paper = {{}}, inked = new Set();
  pixels.forEach((pixel, at) => {{
    const row = Math.floor(at / layer.width / 16);
    paper[row] ??= pixel;
    if (paper[row] !== pixel) inked.add(row);
  }});
  if (inked.size > {LINES}) drawn(inked.size);
}}, 300))"""
"""Resolves when the terminal has drawn text on enough lines."""


class Page(NamedTuple):
    """The page that `embedconsole --web` serves."""

    server: psutil.Process
    origin: str
    said: str


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """Starts a server that runs one console per window, each with an engine of the bundled model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "console.cli", "--web", "--web-port", str(port), "--start", *ONE_THREAD]
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stderr is not None
        said = server.stderr.readline()
        yield Page(psutil.Process(server.pid), f"http://127.0.0.1:{port}", said)
        server.terminate()
        assert server.wait(HANGS_AFTER_S) == 0


def test_the_address_is_said_where_the_command_was_given(page: Page) -> None:
    assert page.said == f"embedconsole: open {page.origin} in a browser; Ctrl+C stops the server\n"


async def test_a_page_from_somewhere_else_can_start_nothing(page: Page) -> None:
    async with aiohttp.ClientSession() as client:
        for origin in ("http://evil.example", f"{page.origin}0", "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await client.ws_connect(f"{page.origin}/ws", headers={"Origin": origin})
    assert page.server.children() == []


async def test_the_console_is_drawn_in_the_browser_and_a_closed_window_ends_its_engine(
    page: Page, tmp_path: Path
) -> None:
    program = browser()
    window = _in_browser(program, page, tmp_path) if program else _on_the_wire(page)
    async with window as shown:
        assert shown
        started = await _with_an_engine(page.server)
    _, alive = psutil.wait_procs(started, HANGS_AFTER_S)
    assert alive == []


def _is_an_engine(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return "engine.cli" in process.cmdline()
    return False


async def _with_an_engine(server: psutil.Process) -> list[psutil.Process]:
    """Returns the processes that a window has started, once its engine is one of them."""
    async with asyncio.timeout(HANGS_AFTER_S):
        while not any(_is_an_engine(process) for process in server.children(recursive=True)):  # noqa: ASYNC110 - other processes set no Event
            await asyncio.sleep(0.05)
    return server.children(recursive=True)


@asynccontextmanager
async def _in_browser(program: str, page: Page, profile: Path) -> AsyncIterator[bool]:
    """Opens a browser window on the page; yields whether the console was drawn."""
    flags = [*FLAGS, f"--user-data-dir={profile}", "--window-size=1400,900", "--remote-debugging-port=0"]
    running = await asyncio.create_subprocess_exec(program, *flags, "about:blank", stderr=asyncio.subprocess.PIPE)
    try:
        assert running.stderr is not None
        told = await running.stderr.readuntil(b"/devtools/browser/")
        tells = re.search(rb"ws://(127\.0\.0\.1:\d+)/", told)
        assert tells is not None
        async with aiohttp.ClientSession() as client:
            async with client.put(f"http://{tells[1].decode()}/json/new?{page.origin}/?fontsize=14") as opened:
                target = await opened.json()
            async with client.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as devtools:
                rows = await _evaluated(devtools, DRAWN)
        yield rows > LINES
    finally:
        running.kill()
        await running.wait()


async def _evaluated(devtools: aiohttp.ClientWebSocketResponse, expression: str) -> Any:
    """Returns the result of a promise in the page."""
    command = {"id": 1, "method": "Runtime.evaluate", "params": {"expression": expression, "awaitPromise": True}}
    answer: dict[str, Any] = {}
    while "result" not in answer:  # a page that is still loading drops commands
        await devtools.send_json(command)
        answer = await devtools.receive_json(timeout=HANGS_AFTER_S)
    return answer["result"]["result"]["value"]


@asynccontextmanager
async def _on_the_wire(page: Page) -> AsyncIterator[bool]:
    """Opens a window without a browser; yields whether the console's text was received."""
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{page.origin}/ws?width=175&height=50", headers={"Origin": page.origin}) as window,
    ):
        received = b""
        while b"RUNNING" not in received:
            received += (await window.receive(timeout=HANGS_AFTER_S)).data
        yield b"embedconsole" in received
