"""The console opened by a command: on this terminal, or in the browser that `--web` serves."""

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from console.standing import SPEEDS

if TYPE_CHECKING:
    from console.ports import SessionOptions

EXIT_NO_TERMINAL = 2
FASTEST = SPEEDS[-1]


def has_terminal() -> bool:
    """Whether the console can be drawn here: on a terminal, or where TEXTUAL_DRIVER says (a browser)."""
    return "TEXTUAL_DRIVER" in os.environ or (sys.stdin.isatty() and sys.stderr.isatty())


def refuse_without_terminal(context: click.Context, instead: str) -> None:
    """Ends the command with one clear line where nothing can be drawn."""
    if not has_terminal():
        click.echo(f"embedconsole: the console needs a terminal; without one use: {instead}", err=True)
        context.exit(EXIT_NO_TERMINAL)


def open_console(
    options: "SessionOptions", *, start: bool, store: str = "", replay: tuple[str, float] | None = None
) -> int:
    """Runs it until it is left. `store`: as asked for; `replay`: a run's id and the speed. Returns the exit code."""
    from console.tui.app import run_console

    def make_session() -> Any:
        from console.session import Session

        return Session.opened(options)

    def make_experiments(session: Any) -> Any:
        from console.experiments.store import store_path
        from console.experiments.sweep_runner import Experiments

        return Experiments(session, store_path(store))

    start = start and not options.connect
    return run_console(make_session, start=start, make_experiments=make_experiments, replay=replay)
