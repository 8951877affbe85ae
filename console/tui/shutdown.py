"""Shutdown of the console: after the Quit dialog, on a signal, or when its terminal hangs up.

It stops what the console started, unless the user chooses to leave the engine running.
"""

import asyncio
import os
import select
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from console.model.engine import DOWN, EngineState
from console.model.exit_codes import ExitCode
from console.model.frame import Frame

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

CLOSE_LIMIT_S = 15.0
"""Time limit of each step in seconds (a rule)."""
_STEPS = 4
"""Steps of a shutdown: save the state, end the sweep, end the recording, close the session."""


class Shutdown:
    """Runs the steps of a shutdown and collects the message that is printed after the screen has closed."""

    def __init__(
        self, app: "AppPort", save_state: Callable[[], Coroutine[Any, Any, None]], step_limit_s: float = CLOSE_LIMIT_S
    ) -> None:
        """`save_state`: writes the saved state. `step_limit_s`: time limit of each step in seconds."""
        self._app = app
        self._save_state = save_state
        self._step_limit_s = step_limit_s
        self._begun = False
        self.exit_message = ""
        """Printed on the terminal after the screen has closed."""
        self._recorded = ""
        """What the recorder of Live says of the run that the shutdown ended."""
        self.hung_up = False
        """The terminal has hung up: a write to it would block forever."""

    def ask(self) -> None:
        """Opens the Quit dialog, or shuts down if nothing is running. During a shutdown: exits at once."""
        from console.tui.screens.dialogs.quit import QuitDialog

        app = self._app
        if self._begun:
            app.exit(self._exit_code())
            return
        engine, load = self._live_frame().engine, self._live_frame().load
        idle = engine.state in DOWN or (engine.remote and not load.running)
        if idle and not app.experiments.sweep_stage.active:
            self._begin("")
        elif not isinstance(app.screen, QuitDialog):
            app.open_dialog(QuitDialog(self._live_frame(), app.view), self._on_answer)

    def at_once(self) -> None:
        """Shuts down without asking: on SIGTERM, on SIGHUP, or when the terminal has hung up."""
        if not self.hung_up and terminal_hung_up():
            self.hung_up = True  # and a blocked write must not keep the process alive: the timer ends it
            watchdog = threading.Timer(_STEPS * self._step_limit_s + 1, os._exit, (ExitCode.OK,))
            watchdog.daemon = True
            watchdog.start()
        if not self._begun:
            self._begin("embedconsole: ended by a signal; stopped what it had started")

    def _live_frame(self) -> Frame:
        """The newest frame of the session, also while the screen shows a replay or a frozen frame."""
        return self._app.session.frame if self._app.session else self._app.frame

    def _on_answer(self, answer: str | None) -> None:
        if answer == "stop":
            engine = self._live_frame().engine
            where = f"the engine at {engine.address} keeps running" if engine.remote else f"engine {engine.pid} stopped"
            self._begin(f"embedconsole: load stopped, {where}")
        elif answer == "detach":
            self._app.command(self._detach())

    async def _detach(self) -> None:
        if self._app.session is None:
            return
        failure = await self._run_step("ending the sweep", self._app.end_sweep())
        engine = await self._app.session.detach()
        running = (
            f"embedconsole: the engine keeps running at {engine.address} (pid {engine.pid}), log {engine.log_path}; "
            f"stop it with: {engine.stop_command}"
        )
        self._begin(_lines(running, failure))

    def _begin(self, exit_message: str) -> None:
        self._begun = True
        self.exit_message = exit_message
        if self._app.view.frozen:
            self._app.toggle_freeze()
        self._app.run_worker(self._close(), exit_on_error=False)

    async def _close(self) -> None:
        """Runs every step, also after one has failed, and adds each failure to the exit message."""
        app, code = self._app, self._exit_code()
        failures = [
            await self._run_step("saving the console's state", self._save_state()),
            await self._run_step("ending the sweep", app.end_sweep()),
            await self._run_step("ending the recording", self._end_recording()),
        ]
        if app.session is not None:
            close_failure = await self._run_step("stopping", app.session.close())
            if close_failure:
                self.exit_message = ""  # it says that the engine stopped, which is not certain
            failures.append(close_failure)
        self.exit_message = _lines(self.exit_message, self._recorded, *failures)
        if self.hung_up:
            os._exit(code)  # restoring the terminal would block
        app.exit(code)

    async def _end_recording(self) -> None:
        if summary := await self._app.end_recording():
            self._recorded = f"embedconsole: {summary}"

    async def _run_step(self, what: str, step: Coroutine[Any, Any, None]) -> str:
        """Runs one step. Returns its failure, or an empty string.

        A step that exceeds the time limit is cancelled and not awaited any longer.
        """
        task = asyncio.create_task(step)
        await asyncio.wait({task}, timeout=self._step_limit_s)
        if not task.done():
            task.cancel()
            return f"embedconsole: {what} took longer than {self._step_limit_s:g} s"
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        return f"embedconsole: {type(error).__name__} while {what}: {error}" if error is not None else ""

    def _exit_code(self) -> int:
        lost = self._live_frame().engine.state is EngineState.LOST
        return ExitCode.ENGINE_FAILED if self._app.failure or lost else ExitCode.OK


def _lines(*texts: str) -> str:
    return "\n".join(filter(None, texts))


def terminal_hung_up() -> bool:
    """Whether the terminal of stdin has hung up or is closed."""
    poll = select.poll()
    poll.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
    return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
