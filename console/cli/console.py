"""Opens the console on this terminal, or in a browser window that `--web` serves."""

import os
import sys
from typing import TYPE_CHECKING, Any

import click
from cloup import option

from console.model.exit_codes import ExitCode

if TYPE_CHECKING:
    from console.actions.registry import Registry
    from console.model.engine import EngineSpec

FRESH_OPTION = option(
    "--fresh", is_flag=True, help="Start without the saved view, load and engine of the last session."
)


def has_terminal() -> bool:
    """Whether the console can be drawn: there is a terminal, or TEXTUAL_DRIVER names another output (a browser)."""
    return "TEXTUAL_DRIVER" in os.environ or (sys.stdin.isatty() and sys.stderr.isatty())


def refuse_without_terminal(context: click.Context, instead: str) -> None:
    """Exits with NO_TERMINAL and one line that names the command `instead`, if the console cannot be drawn."""
    if not has_terminal():
        click.echo(f"embedconsole: the console needs a terminal; without one use: {instead}", err=True)
        context.exit(ExitCode.NO_TERMINAL)


def open_console(
    registry: "Registry",
    *,
    engine: "EngineSpec | None" = None,
    connect: str = "",
    start: bool = False,
    fresh: bool = False,
    store: str = "",
    replay: tuple[str, float] | None = None,
) -> int:
    """Runs the console until the user quits. Returns the exit code.

    `engine`: the engine from the command line; None for that of the saved state. `connect`: host:port of a running
    engine. `fresh`: restores nothing. `store`: path from the command line, or empty. `replay`: id of a run and speed,
    to open its replay first.
    """
    from console.actions.saved_state import Memory, state_path
    from console.session.port import SessionOptions
    from console.tui.app import run_console

    memory = Memory(state_path(), fresh=fresh)
    if engine is not None:
        memory.restore_no_engine()
    if replay is not None:
        memory.restore_no_mode()
    found = memory.found
    options = SessionOptions(engine=engine or found.engine, connect=connect, load=found.load)

    def make_session() -> Any:
        from console.session.session import Session

        return Session.opened(options)

    def make_experiments(session: Any) -> Any:
        from console.services.sweeps import Experiments
        from console.store.database import store_path

        return Experiments(session, store_path(store))

    return run_console(
        make_session,
        start=start and not connect,
        make_experiments=make_experiments,
        replay=replay,
        registry=registry,
        memory=memory,
    )
