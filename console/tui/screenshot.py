"""Makes the screenshot of the README: `python -m console.tui.screenshot -o docs/console.svg`.

It runs the app without a terminal, starts an engine or connects to one, starts a load, switches the backend under that
load, and writes the screen as SVG when the switch has settled.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from console.model.engine import Deployment, EngineSpec, EngineState
from console.model.frame import Frame
from console.session.port import SessionOptions, SessionPort
from console.tui.app import ConsoleApp

READY_LIMIT_S = 300.0
"""Time limit of the start of the engine in seconds."""
SWITCH_LIMIT_S = 300.0
"""Time limit of the switch in seconds."""
LOAD_S = 40.0
"""Seconds of load before and after the switch: enough to fill the charts."""


def _session(options: SessionOptions) -> SessionPort:
    from console.session.session import Session

    return Session.opened(options)


async def _until(app: ConsoleApp, met: Callable[[Frame], bool], limit_s: float, what: str) -> None:
    async def poll() -> None:
        while not met(app.frame):
            if app.frame.engine.state is EngineState.LOST:
                raise RuntimeError(f"the engine was lost while waiting for {what}: {app.frame.engine.message}")
            await asyncio.sleep(0.2)

    await asyncio.wait_for(poll(), limit_s)


def _serves(backend: str) -> Callable[[Frame], bool]:
    return lambda frame: frame.engine.state is EngineState.RUNNING and frame.engine.effective.backend in {backend, ""}


async def take_screenshot(
    options: SessionOptions, size: tuple[int, int], backend: str, theme: str, load_s: float
) -> str:
    """Returns the Live screen as SVG after a switch to `backend` under load. Raises RuntimeError on a lost engine."""
    app = ConsoleApp(lambda: _session(options), start=not options.connect)
    async with app.run_test(size=size) as pilot:
        app.theme = theme
        await _until(app, lambda frame: frame.engine.state is EngineState.RUNNING, READY_LIMIT_S, "its start")
        session = app.session
        if session is None:
            raise RuntimeError("the session is not open")
        await session.start_load(app.frame.load.spec)
        await asyncio.sleep(load_s)
        await session.switch(Deployment(backend, app.frame.engine.requested.precision))
        await _until(app, _serves(backend), SWITCH_LIMIT_S, "the switch")
        await _until(app, lambda frame: bool(frame.deltas) and frame.deltas[-1].settled, SWITCH_LIMIT_S, "figures")
        await asyncio.sleep(load_s)
        await pilot.pause()
        svg = app.export_screenshot(title="embedconsole")
        await session.close()
    return svg


def main() -> int:
    """Writes the screenshot; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m console.tui.screenshot", description="Takes a screenshot of the console."
    )
    parser.add_argument("--size", default="200x50")
    parser.add_argument("--connect", default="", metavar="ADDR")
    parser.add_argument("--from", dest="first_backend", default="torch", metavar="BACKEND")
    parser.add_argument("--to", dest="second_backend", default="onnx", metavar="BACKEND")
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--load-s", type=float, default=LOAD_S, help="seconds of load before and after the switch")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    flags = parser.parse_args()
    width, height = (int(part) for part in flags.size.split("x"))
    engine = EngineSpec(backend=flags.first_backend, precision="fp32")
    options = SessionOptions(engine=engine, connect=flags.connect)
    svg = asyncio.run(take_screenshot(options, (width, height), flags.second_backend, flags.theme, flags.load_s))
    flags.output.parent.mkdir(parents=True, exist_ok=True)
    flags.output.write_text(svg, encoding="utf-8")
    print(flags.output, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
