"""The console: one clock pulls the session's newest frame at 10 Hz and gives it to the screen that is on top."""

import asyncio
import gc
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual.actions import SkipAction
from textual.app import App
from textual.binding import Binding, BindingsMap
from textual.filter import NoColor
from textual.screen import Screen

from console.action import Action
from console.cli_form import run_command
from console.frame import Engine, EngineSpec, EngineState, Frame, Phase
from console.ports import CommandRefused
from console.registry import DEFAULT, Registry
from console.standing import Experiments, SweepStage, stage_of
from console.tui.modes import SCREENS
from console.tui.palette import ActionProvider
from console.tui.performing import DOWN, perform
from console.tui.remembering import Remembering
from console.tui.screens.dialog import Dialog
from console.tui.themes import DARK, THEMES
from console.tui.view import View

if TYPE_CHECKING:
    from textual.worker import Worker

    from console.ports import ExperimentsPort, SessionPort
    from console.remembered import Memory

CLOCK_S = 0.1
CLOSE_LIMIT_S = 15.0
OPENING = Frame(engine=Engine(state=EngineState.STARTING, phase=Phase("console", "opening the session")))
EXIT_OK = 0
EXIT_ENGINE_FAILED = 5


def bindings(registry: Registry) -> BindingsMap:
    """The registry as key bindings; those of one mode do nothing in the other."""
    return BindingsMap(
        Binding("comma" if key == "," else key, f"perform({action.id!r})", action.title, id=action.id, show=False)
        for action in registry
        for key in action.keys
    )


class ConsoleApp(App[int], inherit_bindings=False):
    """Owns the view (zoom, freeze) and the session's life; everything drawn comes from frames."""

    CSS_PATH = "widgets/tile.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = SCREENS
    DEFAULT_MODE = "live"
    COMMANDS = {ActionProvider}  # noqa: RUF012 Textual's declaration
    TITLE = "embedconsole"

    def __init__(
        self,
        make_session: "Callable[[], SessionPort]",
        *,
        start: bool,
        on_terminal: bool = False,
        clock_s: float = CLOCK_S,
        make_experiments: "Callable[[SessionPort], ExperimentsPort] | None" = None,
        registry: Registry = DEFAULT,
        memory: "Memory | None" = None,
    ) -> None:
        """`start`: start the engine at once. `on_terminal`: take care of signals and of a terminal that goes away.

        `clock_s`: between two beats; 0 leaves the beating to the caller. `make_experiments`: the store and the sweeps
        beside that session; without it the modes that need them say so. `registry`: the actions with their keys.
        `memory`: what is restored and kept; without it nothing is.
        """
        super().__init__()
        self.registry = registry
        self._bindings = bindings(registry)
        # every colour here is a true one already; and where NO_COLOR is set, Textual would still draw greys
        self._filters = [NoColor()] if self.no_color else []
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = DARK.name
        self.session: SessionPort | None = None
        self.view = View(registry=registry)
        self.experiments = Experiments()
        self._remembering = Remembering(self, memory)
        self._remembering.restore_look()
        self.farewell = ""
        self.failure = ""
        self._make_session = make_session
        self._make_experiments = make_experiments
        self._experiments_port: ExperimentsPort | None = None
        self._sweeping: Worker[None] | None = None
        self._start = start
        self._on_terminal = on_terminal
        self._clock_s = clock_s
        self._frame = OPENING if start else Frame()
        self._tick = 0
        self._phase_since: tuple[EngineState, float] | None = None
        self._leaving = False
        self._dark = False

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DARK.variables)

    @property
    def frame(self) -> Frame:
        """The frame on the screen: the newest one, or the one that was frozen."""
        return self._frame

    @property
    def engine_spec(self) -> EngineSpec:
        """How the engine was, or will be, started."""
        return self.session.engine_spec if self.session else EngineSpec()

    @property
    def experiments_port(self) -> "ExperimentsPort":
        """The store and the sweeps. Raises CommandRefused while there are none."""
        if self._experiments_port is None:
            if self.session is None or self._make_experiments is None:
                raise CommandRefused("The session is still being opened: try again in a moment")
            self._experiments_port = self._make_experiments(self.session)
        return self._experiments_port

    def stand(self, **changes: Any) -> None:
        """Takes where the experiment modes are now, and draws at once."""
        self.experiments = replace(self.experiments, **changes)
        self._frame = replace(self._frame, experiments=self.experiments)
        self.draw()

    def cli_form(self, action: Action) -> str:
        """The command that does the same without a screen; empty where there is none."""
        return action.cli(self._frame, self.engine_spec) if action.cli else ""

    # ---- life ----

    def on_mount(self) -> None:
        self.set_class(self.no_color, "no-color")
        if self._clock_s:
            self.set_interval(self._clock_s, self.tick)
        if self._on_terminal:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._leave_at_once)
        self.call_after_refresh(self._open)

    def _open(self) -> None:
        """After the first paint: what the session imports takes longer than a person waits for a picture."""
        try:
            self.session = self._make_session()
        except Exception as error:  # whatever stops it from opening is told on the screen, which goes on
            self.failure = str(error) or type(error).__name__
            lost = Engine(state=EngineState.LOST, message=f"The session could not be opened: {self.failure}")
            self._frame = Frame(engine=lost)
            return
        if self._on_terminal:
            gc.freeze()  # what is loaded now stays: walking it again and again would hold up keys for tens of ms
        if self._start:
            self.command(self.session.start_engine())
        self.command(self._remembering.restore_mode())

    def tick(self) -> None:
        """One beat of the clock: the newest frame to the screen on top, and to no other."""
        self._tick += 1
        if self._on_terminal and _terminal_gone():
            self._leave_at_once()
            return
        if self.session is not None:
            newest = self.session.frame
            if self.view.frozen:
                self.view = replace(self.view, behind_s=float(int(newest.now_s - self._frame.now_s)))
            else:
                self._frame = self._aged(newest)
        self._stands()
        self.draw()
        self._remembering.tick(self._tick)

    def _aged(self, frame: Frame) -> Frame:
        """The frame with a phase that ages: the engine tells of a phase when it begins, the screen shows how long."""
        phase, state = frame.engine.phase, frame.engine.state
        if phase is None or state not in {EngineState.STARTING, EngineState.SWITCHING}:
            self._phase_since = None
            return frame
        if self._phase_since is None or self._phase_since[0] is not state:
            self._phase_since = (state, frame.now_s - phase.elapsed_s)
        elapsed_s = max(phase.elapsed_s, frame.now_s - self._phase_since[1])
        if elapsed_s == phase.elapsed_s:
            return frame
        return replace(frame, engine=replace(frame.engine, phase=replace(phase, elapsed_s=elapsed_s)))

    def _stands(self) -> None:
        """The experiment modes' own part of the frame. A frame that has it already stays the same object."""
        state = self._experiments_port.sweeps.state if self._experiments_port else None
        stage = SweepStage.NONE
        if state is not None:
            stage = stage_of(ended=state.ended, ending=state.ending, paused=state.paused)
        if stage is not self.experiments.sweep:
            self.experiments = replace(self.experiments, sweep=stage)
        if self._frame.experiments != self.experiments:
            self._frame = replace(self._frame, experiments=self.experiments)

    def draw(self) -> None:
        """Draws the frame on the active screen."""
        screen = self.screen
        show = getattr(screen, "show", None)
        if show is None or not screen.is_active or not screen.is_mounted or self._dark:
            return
        if self._tick % 5 == 0 or not self.view.command:
            command = run_command(self._frame, self.engine_spec)
            self.view = replace(self.view, mode=self.current_mode, command=command)
        with self.batch_update():
            show(self._frame, self.view, self._tick)

    def look(self, **changes: Any) -> None:
        """Changes the view and draws at once."""
        self.view = replace(self.view, **changes)
        self.draw()

    def toggle_freeze(self) -> None:
        """Stops or resumes drawing; the session goes on."""
        self.view = replace(self.view, frozen=not self.view.frozen, behind_s=0.0)
        self.tick()

    async def go_to(self, mode: str) -> None:
        """Another mode."""
        await self.switch_mode(mode)
        self.look(mode=mode, until_s=None)

    # ---- doing ----

    async def action_perform(self, action_id: str) -> None:
        """Performs an action, or says why it cannot be performed now."""
        action = self.registry.by_id[action_id]
        if self.current_mode not in action.modes:
            raise SkipAction  # the key may mean something else in this mode
        if reason := self.registry.reason(action, self._frame):
            self.say(reason, severity="warning")
            return
        if action_id == "quit":
            self.ask_to_quit()
            return
        await self._guarded(perform(self, action_id))
        self.draw()

    def command(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Sends a command to the session without waiting for it; a refusal becomes a message."""
        self.run_worker(self._guarded(coroutine), exit_on_error=False)

    def begin_sweep(self, source: str, *, resume: bool) -> None:
        """Sweeps in a worker of the app's own, so that it goes on whatever is shown; leaving the console ends it."""
        self.stand(sweep_source=source)
        sweep = self._guarded(self.experiments_port.sweeps.sweep(source, resume=resume))
        self._sweeping = self.run_worker(sweep, exit_on_error=False)

    async def _end_sweep(self) -> None:
        """At once; what the running cell has measured is kept."""
        if self._sweeping is not None and not self._sweeping.is_finished:
            with suppress(CommandRefused):
                self.experiments_port.sweeps.stop_now()
            await self._sweeping.wait()

    async def _guarded(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except (CommandRefused, LookupError) as refusal:
            self.say(str(refusal), severity="warning")
        except Exception as error:  # a fault of one command must not take the screen down with it
            self.say(f"{type(error).__name__}: {error}", title="This did not work", severity="error")

    def say(
        self,
        message: str,
        *,
        title: str = "",
        severity: Literal["information", "warning", "error"] = "information",
        timeout: float = 6,
    ) -> None:
        """A message in the corner: `{id}` in it is that action's key, and no markup is read in it."""
        self.notify(self.registry.told(message), title=title, severity=severity, timeout=timeout, markup=False)

    def open_dialog(self, dialog: Dialog[Any], then: Callable[[Any], None] | None) -> None:
        """Opens a dialog; `then` gets its answer."""
        self.push_screen(dialog, then)

    # ---- leaving ----

    def ask_to_quit(self) -> None:
        """Leaves at once where nothing runs, else asks what shall become of it; asked again while leaving: goes."""
        from console.tui.screens.quit import QuitDialog

        if self._leaving:
            self.exit(self._code())
            return
        engine, load = self._newest().engine, self._newest().load
        idle = engine.state in DOWN or (engine.remote and not load.running)
        if idle and not self.experiments.sweep.active:
            self._leave("")
        elif not isinstance(self.screen, QuitDialog):
            self.open_dialog(QuitDialog(self._newest(), self.view), self._answered)

    def _newest(self) -> Frame:
        return self.session.frame if self.session else self._frame

    def _answered(self, answer: str | None) -> None:
        if answer == "stop":
            engine = self._newest().engine
            where = f"the engine at {engine.address} serves on" if engine.remote else f"engine {engine.pid} stopped"
            self._leave(f"embedconsole: load stopped, {where}")
        elif answer == "detach":
            self.command(self._leave_running())

    async def _leave_running(self) -> None:
        if self.session is None:
            return
        await self._end_sweep()
        left = await self.session.detach()
        self._leave(
            f"embedconsole: the engine serves on at {left.address} (pid {left.pid}), log {left.log_path}; "
            f"stop it with: {left.stop_command}"
        )

    def _leave(self, farewell: str) -> None:
        self._leaving = True
        self.farewell = farewell
        if self.view.frozen:
            self.toggle_freeze()
        self.run_worker(self._close(), exit_on_error=False)

    async def _close(self) -> None:
        code = self._code()
        try:
            await self._remembering.keep()
            await asyncio.wait_for(self._end_sweep(), CLOSE_LIMIT_S)
            if self.session is not None:
                await asyncio.wait_for(self.session.close(), CLOSE_LIMIT_S)
        except Exception as error:  # leaving is what was asked for: the fault is told on the way out
            self.farewell = f"embedconsole: {type(error).__name__} while stopping: {error}"
        if self._dark:
            os._exit(code)  # there is no terminal to put back in order
        self.exit(code)

    def _code(self) -> int:
        lost = self._newest().engine.state is EngineState.LOST
        return EXIT_ENGINE_FAILED if self.failure or lost else EXIT_OK

    def _leave_at_once(self) -> None:
        """SIGTERM, SIGHUP or no terminal any more: there is nobody to ask, so what was started is stopped."""
        if not self._dark and _terminal_gone():
            # a write would wait for ever for a terminal that does not read
            self._dark = True
            watchdog = threading.Timer(CLOSE_LIMIT_S + 1, os._exit, (EXIT_OK,))
            watchdog.daemon = True
            watchdog.start()
        if not self._leaving:
            self._leave("embedconsole: ended by a signal; what it started was stopped")


def _terminal_gone() -> bool:
    poll = select.poll()
    poll.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
    return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def run_console(
    make_session: "Callable[[], SessionPort]",
    *,
    start: bool,
    make_experiments: "Callable[[SessionPort], ExperimentsPort] | None" = None,
    registry: Registry = DEFAULT,
    memory: "Memory | None" = None,
) -> int:
    """Runs the console on this terminal until it is left. `make_session` is called after the first paint.

    Returns the exit code: 0, or 5 if the session could not be opened or the engine was lost at the end.
    """
    app = ConsoleApp(
        make_session,
        start=start,
        on_terminal=True,
        make_experiments=make_experiments,
        registry=registry,
        memory=memory,
    )
    code = app.run()
    if app.farewell:
        try:
            print(app.farewell, flush=True)
        except OSError:
            os._exit(code or 0)  # the terminal is gone: there is nobody to tell, and nothing left to flush
    return EXIT_OK if code is None else code
