"""How the console is left: by a question, by a signal, or because its terminal has gone; nothing it started stays."""

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
"""Of each step; there are `_STEPS`."""
_STEPS = 3


class Shutdown:
    """Owns whether the console is being left, and what it says at the end."""

    def __init__(
        self, app: "AppPort", keep_state: Callable[[], Coroutine[Any, Any, None]], step_limit_s: float = CLOSE_LIMIT_S
    ) -> None:
        """`keep_state`: writes the console's state."""
        self._app = app
        self._keep_state = keep_state
        self._step_limit_s = step_limit_s
        self._begun = False
        self.farewell = ""
        """For the terminal, when the screen has gone."""
        self.dark = False
        """There is no terminal any more: whatever is drawn waits for ever."""

    def ask(self) -> None:
        """Leaves at once where nothing runs, else asks what shall become of it; asked again while leaving: goes."""
        from console.tui.screens.dialogs.quit import QuitDialog

        app = self._app
        if self._begun:
            app.exit(self._code())
            return
        engine, load = self._newest().engine, self._newest().load
        idle = engine.state in DOWN or (engine.remote and not load.running)
        if idle and not app.experiments.sweep_stage.active:
            self._leave("")
        elif not isinstance(app.screen, QuitDialog):
            app.open_dialog(QuitDialog(self._newest(), app.view), self._answered)

    def at_once(self) -> None:
        """SIGTERM, SIGHUP or no terminal any more: there is nobody to ask, so what was started is stopped."""
        if not self.dark and terminal_gone():
            # a write would wait for ever for a terminal that does not read
            self.dark = True
            watchdog = threading.Timer(_STEPS * self._step_limit_s + 1, os._exit, (ExitCode.OK,))
            watchdog.daemon = True
            watchdog.start()
        if not self._begun:
            self._leave("embedconsole: ended by a signal; what it started was stopped")

    def _newest(self) -> Frame:
        """The session's, also where a replay or a frozen frame is on the screen."""
        return self._app.session.frame if self._app.session else self._app.frame

    def _answered(self, answer: str | None) -> None:
        if answer == "stop":
            engine = self._newest().engine
            where = f"the engine at {engine.address} serves on" if engine.remote else f"engine {engine.pid} stopped"
            self._leave(f"embedconsole: load stopped, {where}")
        elif answer == "detach":
            self._app.command(self._leave_running())

    async def _leave_running(self) -> None:
        if self._app.session is None:
            return
        failure = await self._failure_of("ending the sweep", self._app.end_sweep(restore=True))
        left = await self._app.session.detach()
        serves_on = (
            f"embedconsole: the engine serves on at {left.address} (pid {left.pid}), log {left.log_path}; "
            f"stop it with: {left.stop_command}"
        )
        self._leave(_lines(serves_on, failure))

    def _leave(self, farewell: str) -> None:
        self._begun = True
        self.farewell = farewell
        if self._app.view.frozen:
            self._app.toggle_freeze()
        self._app.run_worker(self._close(), exit_on_error=False)

    async def _close(self) -> None:
        """Takes every step, whatever became of the others, and tells each failure on the way out."""
        app, code = self._app, self._code()
        failures = [
            await self._failure_of("keeping the console's state", self._keep_state()),
            await self._failure_of("ending the sweep", app.end_sweep(restore=False)),
        ]
        if app.session is not None:
            unclosed = await self._failure_of("stopping", app.session.close())
            if unclosed:
                self.farewell = ""  # it would claim what was not done
            failures.append(unclosed)
        self.farewell = _lines(self.farewell, *failures)
        if self.dark:
            os._exit(code)  # there is no terminal to put back in order
        app.exit(code)

    async def _failure_of(self, doing: str, step: Coroutine[Any, Any, None]) -> str:
        """Empty, or what went wrong. A step that does not end in time is cancelled, and not waited for any longer."""
        task = asyncio.create_task(step)
        await asyncio.wait({task}, timeout=self._step_limit_s)
        if not task.done():
            task.cancel()
            return f"embedconsole: {doing} took longer than {self._step_limit_s:g} s"
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        return f"embedconsole: {type(error).__name__} while {doing}: {error}" if error is not None else ""

    def _code(self) -> int:
        lost = self._newest().engine.state is EngineState.LOST
        return ExitCode.ENGINE_FAILED if self._app.failure or lost else ExitCode.OK


def _lines(*texts: str) -> str:
    return "\n".join(filter(None, texts))


def terminal_gone() -> bool:
    """Whether nobody can read or write there any more."""
    poll = select.poll()
    poll.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
    return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
