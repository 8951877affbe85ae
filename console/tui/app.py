"""The console app: a 10 Hz clock reads the newest frame of the session and draws it on the active screen."""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual.actions import SkipAction
from textual.app import App
from textual.binding import Binding, BindingsMap
from textual.filter import NoColor
from textual.screen import Screen

from console.actions.action import REPLAY, Action
from console.actions.registry import DEFAULT, Registry
from console.actions.replay import not_in_a_replay
from console.model.engine import Engine, EngineSpec, EngineState, Phase
from console.model.errors import CommandRefused
from console.model.exit_codes import ExitCode
from console.model.frame import Frame
from console.model.modes import ExperimentContext, SweepStage, sweep_stage
from console.model.supervise import Supervisor
from console.session.log import LogRing
from console.tui.handlers import perform
from console.tui.handlers.replay import start_replay
from console.tui.modes import SCREENS
from console.tui.palette import ActionProvider
from console.tui.phase_clock import PhaseClock
from console.tui.restore import StateRestorer
from console.tui.screens.dialogs.dialog import Dialog
from console.tui.screens.protocols import ShowsFrames
from console.tui.shutdown import Shutdown, terminal_hung_up
from console.tui.themes import DARK, THEMES
from console.tui.view import View

if TYPE_CHECKING:
    from textual.dom import DOMNode
    from textual.worker import Worker

    from console.actions.saved_state import Memory
    from console.services.ports import ExperimentsPort
    from console.session.port import SessionPort
    from console.tui.replay_player import Player

CLOCK_S = 0.1
"""Seconds between two ticks of the clock."""
OPENING = Frame(engine=Engine(state=EngineState.STARTING, phase=Phase("console", "opening the session")))
"""The frame that is shown until the session is open."""


def bindings(registry: Registry) -> BindingsMap:
    """The key bindings of all actions. A key of another mode's action does nothing."""
    return BindingsMap(
        Binding("comma" if key == "," else key, f"perform({action.id!r})", action.title, id=action.id, show=False)
        for action in registry
        for key in action.keys
    )


class ConsoleApp(App[int], inherit_bindings=False):
    """Owns the view (zoom, freeze) and the session. Everything that is drawn comes from frames."""

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
        clock: Callable[[], float] = time.monotonic,
        make_experiments: "Callable[[SessionPort], ExperimentsPort] | None" = None,
        replay: tuple[str, float] | None = None,
        registry: Registry = DEFAULT,
        memory: "Memory | None" = None,
    ) -> None:
        """`start`: start the engine at once. `on_terminal`: handle signals and a terminal that hangs up.

        `clock_s`: seconds between two ticks; 0: the caller calls `tick`. `clock`: seconds, the time base of replays.
        `make_experiments`: opens the store and the sweeps of a session; without it, the modes that need them say so.
        `replay`: a run that is replayed at once, and its speed. `registry`: the actions with their keys.
        `memory`: the saved state; without it nothing is restored or saved.
        """
        super().__init__()
        self.registry = registry
        self._bindings = bindings(registry)
        # the themes use 24-bit colours, so no other filter is needed; with NO_COLOR Textual alone would draw greys
        self._filters = [NoColor()] if self.no_color else []
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = DARK.name
        self.session: SessionPort | None = None
        self.view = View(registry=registry)
        self.experiments = ExperimentContext()
        self.player: Player | None = None
        """Set while a stored run is replayed."""
        self.restorer = StateRestorer(self, memory)
        self.restorer.restore_view()
        self.shutdown = Shutdown(self, self.restorer.save)
        self.failure = ""
        self.supervisor = Supervisor(self._log_line, refused=self._show_refusal, report=self._show_fault)
        self._early_log = LogRing()
        """Lines that are logged before the session is open; the session has its own log."""
        self._make_session = make_session
        self._make_experiments = make_experiments
        self._experiments_port: ExperimentsPort | None = None
        self._sweeping: Worker[None] | None = None
        self._start = start
        self._replay = replay
        self._on_terminal = on_terminal
        self._clock_s = clock_s
        self.clock = clock
        self._frame = OPENING if start else Frame()
        self._tick = 0
        self._phase_clock = PhaseClock()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DARK.variables)

    @property
    def frame(self) -> Frame:
        """The frame on the screen: the newest one, a frozen one, or one of a replay."""
        return self._frame

    @property
    def engine_spec(self) -> EngineSpec:
        """The arguments with which the engine was, or will be, started."""
        return self.session.engine_spec if self.session else EngineSpec()

    @property
    def open_session(self) -> "SessionPort":
        """The session. Raises CommandRefused until it is open."""
        if self.session is None:
            raise CommandRefused("The session is still being opened: try again in a moment")
        return self.session

    @property
    def experiments_port(self) -> "ExperimentsPort":
        """The store and the sweeps. Raises CommandRefused until the session is open, and without a store."""
        if self._experiments_port is None:
            session = self.open_session
            if self._make_experiments is None:
                raise CommandRefused("This console was opened without a store of runs")
            self._experiments_port = self._make_experiments(session)
        return self._experiments_port

    def update_context(self, **changes: Any) -> None:
        """Changes the experiment context and draws at once."""
        self.experiments = replace(self.experiments, **changes)
        self._frame = replace(self._frame, experiments=self.experiments)
        self.draw()

    def cli_form(self, action: Action) -> str:
        """The shell command that does the same; empty where there is none."""
        return action.cli(self._frame, self.engine_spec) if action.cli else ""

    # ---- lifetime ----

    def on_mount(self) -> None:
        self.set_class(self.no_color, "no-color")
        if self._clock_s:
            self.set_interval(self._clock_s, self.tick)
        loop = asyncio.get_running_loop()
        # the default handler writes to stderr, which the screen hides
        loop.set_exception_handler(self.supervisor.on_loop_fault)
        if self._on_terminal:
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self.shutdown.at_once)
        self.call_after_refresh(self._open)

    def on_unmount(self) -> None:
        asyncio.get_running_loop().set_exception_handler(None)

    def _open(self) -> None:
        """Opens the session after the first paint: its imports take long enough to be noticed."""
        try:
            self.session = self._make_session()
        except Exception as error:  # the console stays open and shows why
            self.failure = str(error) or type(error).__name__
            lost = Engine(state=EngineState.LOST, message=f"The session could not be opened: {self.failure}")
            self._frame = Frame(engine=lost)
            self.supervisor.fault("opening the session", error)
            return
        for entry in self._early_log.lines:
            self.session.note(entry.text, entry.level)
        if self._on_terminal:
            gc.freeze()  # collections skip the imported modules: scanning them delays keys by tens of ms
        if self._start:
            self.command(self.session.start_engine())
        self.command(self._open_experiments())
        self.command(self.restorer.restore_mode())
        if self._replay:
            self.command(start_replay(self, *self._replay))

    async def _open_experiments(self) -> None:
        """Opens the store and the sweeps, if there are any. From then on the loads of the session are recorded."""
        if self._make_experiments is not None:
            await asyncio.to_thread(import_module, "console.services.sweeps")  # takes long enough to be noticed
            self._experiments_port = self.experiments_port

    def tick(self) -> None:
        """Runs one tick of the clock: draws the newest frame on the active screen."""
        self._tick += 1
        if self._on_terminal and terminal_hung_up():
            self.shutdown.at_once()
            return
        if self.session is not None:
            newest = self.session.frame
            if self.player is not None:
                self._frame = self.player.frame(newest)
            elif self.view.frozen:
                self.view = replace(self.view, behind_s=float(int(newest.now_s - self._frame.now_s)))
            else:
                self._frame = self._phase_clock.with_elapsed_time(newest)
        self._sync_context()
        self.draw()
        self.restorer.save_if_changed(self._tick)

    def _sync_context(self) -> None:
        """Puts the experiment context into the frame. An unchanged frame stays the same object and is not redrawn."""
        state = self._experiments_port.sweeps.state if self._experiments_port else None
        stage = SweepStage.NONE
        if state is not None:
            stage = sweep_stage(ended=state.ended, ending=state.ending, paused=state.paused)
        if stage is not self.experiments.sweep_stage:
            self.experiments = replace(self.experiments, sweep_stage=stage)
        before = self.experiments.recording
        recording = self._experiments_port.live.state if self._experiments_port else before
        if recording is not before:
            self.experiments = replace(self.experiments, recording=recording)
            if recording.notices > before.notices:
                self.show_message(recording.notice, severity="warning" if recording.trouble else "information")
        if self._frame.experiments != self.experiments:
            self._frame = replace(self._frame, experiments=self.experiments)

    def draw(self) -> None:
        """Draws the frame on every screen that can be seen: the one on top, and those behind its dialogs.

        A dialog covers only a part of the screen behind it, which goes on moving. A mode covers all of it.
        """
        if self.shutdown.hung_up:
            return
        if self.view.mode != self.current_mode:
            self.view = replace(self.view, mode=self.current_mode)
        with self.batch_update():
            for screen in reversed(self.screen_stack):
                if screen.is_mounted and isinstance(screen, ShowsFrames):
                    screen.show(self._frame, self.view, self._tick)
                if not screen.is_modal:
                    break

    def update_view(self, **changes: Any) -> None:
        """Changes the view and draws at once."""
        self.view = replace(self.view, **changes)
        self.draw()

    def toggle_freeze(self) -> None:
        """Stops or resumes drawing. The session continues."""
        self.view = replace(self.view, frozen=not self.view.frozen, behind_s=0.0)
        self.tick()

    async def go_to(self, mode: str) -> None:
        """Shows another mode. Leaving the replay ends it."""
        if mode != REPLAY and self.player is not None:
            self.player = None
            self.view = replace(self.view, maximised="")
            self.tick()
        await self.switch_mode(mode)
        self.update_view(mode=mode, until_s=None)

    # ---- actions ----

    async def action_perform(self, action_id: str) -> None:
        """Performs an action, or shows why it is not available now."""
        action = self.registry.by_id[action_id]
        if self.current_mode not in action.modes:
            if self.current_mode == REPLAY and (why := not_in_a_replay(action)):
                self.show_message(why, severity="warning")
            raise SkipAction  # another action may have the key in this mode
        if reason := self.registry.reason(action, self._frame):
            self.show_message(reason, severity="warning")
            return
        await self.supervisor.guard(f"the action {action_id}", perform(self, action_id))
        self.draw()

    def command(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Runs a command in the background. A refusal becomes a message."""
        self.in_background("a command", coroutine)

    def in_background(
        self,
        what: str,
        coroutine: Coroutine[Any, Any, None],
        *,
        owner: "DOMNode | None" = None,
        failed: Callable[[str], None] | None = None,
    ) -> "Worker[None]":
        """Runs a coroutine in a worker that ends with its `owner`, by default the app. `what`: names it in messages.

        A refusal becomes a message. A fault is logged with its traceback, shown, and passed to `failed`.
        """
        return (owner or self).run_worker(self.supervisor.guard(what, coroutine, failed), exit_on_error=False)

    def ask_to_quit(self) -> None:
        """Opens the Quit dialog, or quits if nothing is running."""
        self.shutdown.ask()

    def begin_sweep(self, source: str, *, resume: bool) -> None:
        """Starts a sweep in a worker of the app: it continues in every mode and ends when the console quits.

        Raises CommandRefused while another sweep is running.
        """
        if self._sweeping is not None and not self._sweeping.is_finished:
            raise CommandRefused("A sweep is running: {sweep_stop} stops it")
        self.update_context(sweep_source=source)
        self._sweeping = self.in_background("the sweep", self.experiments_port.sweeps.sweep(source, resume=resume))

    async def end_sweep(self) -> None:
        """Stops the sweep now and waits for its end. The partial cell is kept."""
        if self._sweeping is not None and not self._sweeping.is_finished:
            with suppress(CommandRefused):
                self.experiments_port.sweeps.stop_now()
            await self._sweeping.wait()

    async def end_recording(self) -> str:
        """Ends the run that is recorded from Live, if there is one; returns what to tell the user."""
        return await self._experiments_port.live.close() if self._experiments_port is not None else ""

    def _show_refusal(self, why: str) -> None:
        self.show_message(why, severity="warning")

    def _show_fault(self, sentence: str) -> None:
        self.show_message(f"{sentence}\n{{mode_log}} shows the traceback", title="Unexpected error", severity="error")

    def _log_line(self, level: str, text: str) -> None:
        if self.session is not None:
            self.session.note(text, level)
            return
        self._early_log.add("console", level, text)
        self._frame = replace(self._frame, log=self._early_log.lines, log_version=self._early_log.version)

    def show_message(
        self,
        message: str,
        *,
        title: str = "",
        severity: Literal["information", "warning", "error"] = "information",
        timeout: float = 6,
    ) -> None:
        """Shows a message in the corner. `{id}` in it becomes the key of that action; markup is not interpreted."""
        self.notify(self.registry.with_keys(message), title=title, severity=severity, timeout=timeout, markup=False)

    def open_dialog(self, dialog: Dialog[Any], then: Callable[[Any], None] | None) -> None:
        """Opens a dialog. `then` takes its answer, None if it was cancelled; its errors are shown like a command's."""
        if then is None:
            self.push_screen(dialog)
        else:
            self.push_screen(dialog, partial(self.supervisor.call, "applying the answer", then))


def run_console(
    make_session: "Callable[[], SessionPort]",
    *,
    start: bool,
    make_experiments: "Callable[[SessionPort], ExperimentsPort] | None" = None,
    replay: tuple[str, float] | None = None,
    registry: Registry = DEFAULT,
    memory: "Memory | None" = None,
) -> int:
    """Runs the console on this terminal until it quits. `make_session` is called after the first paint.

    Returns the exit code: 0, or 5 if the session could not be opened or the engine was lost when the console quit.
    """
    app = ConsoleApp(
        make_session,
        start=start,
        on_terminal=True,
        make_experiments=make_experiments,
        replay=replay,
        registry=registry,
        memory=memory,
    )
    code = app.run()
    if app.shutdown.exit_message:
        try:
            # in a browser stdout carries textual-serve's protocol: stderr is the terminal of the server
            print(app.shutdown.exit_message, flush=True, file=sys.stderr if app.is_web else sys.stdout)
        except OSError:
            os._exit(code or 0)  # the terminal has hung up: flushing at exit would fail as well
    return ExitCode.OK if code is None else code
