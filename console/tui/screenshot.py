"""A picture of the console on a real session, for the README: `python -m console.tui.screenshot -o docs/console.svg`.

The app runs without a terminal; an engine is started (or one is connected to), load is put on it, the backend is
switched under that load, and when the switch has settled the screen is written as SVG.
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
SWITCH_LIMIT_S = 300.0
LOAD_S = 40.0
"""Seconds of load on either side of the switch: the chart should be full."""


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


async def take(options: SessionOptions, size: tuple[int, int], then_to: str, theme: str, load_s: float) -> str:
    """The SVG of the Live screen after a switch to the backend `then_to` under load."""
    app = ConsoleApp(lambda: _session(options), start=not options.connect)
    async with app.run_test(size=size) as pilot:
        app.theme = theme
        await _until(app, lambda frame: frame.engine.state is EngineState.RUNNING, READY_LIMIT_S, "its start")
        session = app.session
        if session is None:
            raise RuntimeError("the session is not open")
        await session.start_load(app.frame.load.spec)
        await asyncio.sleep(load_s)
        await session.switch(Deployment(then_to, app.frame.engine.requested.precision))
        await _until(app, _serves(then_to), SWITCH_LIMIT_S, "the switch")
        await _until(app, lambda frame: bool(frame.deltas) and frame.deltas[-1].settled, SWITCH_LIMIT_S, "figures")
        await asyncio.sleep(load_s)
        await pilot.pause()
        svg = app.export_screenshot(title="embedconsole")
        await session.close()
    return svg


def main() -> int:
    """Writes the picture; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m console.tui.screenshot", description="A picture of the console.")
    parser.add_argument("--size", default="200x50")
    parser.add_argument("--connect", default="", metavar="ADDR")
    parser.add_argument("--from", dest="start_with", default="torch", metavar="BACKEND")
    parser.add_argument("--to", dest="then_to", default="onnx", metavar="BACKEND")
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--load-s", type=float, default=LOAD_S, help="seconds of load on either side of the switch")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    flags = parser.parse_args()
    width, height = (int(part) for part in flags.size.split("x"))
    engine = EngineSpec(backend=flags.start_with, precision="fp32")
    options = SessionOptions(engine=engine, connect=flags.connect)
    svg = asyncio.run(take(options, (width, height), flags.then_to, flags.theme, flags.load_s))
    flags.output.parent.mkdir(parents=True, exist_ok=True)
    flags.output.write_text(svg, encoding="utf-8")
    print(flags.output, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
