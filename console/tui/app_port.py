"""The protocol of the app that handlers, screens, shutdown and restore depend on, so that none imports the app."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from textual.dom import DOMNode
    from textual.screen import Screen
    from textual.worker import Worker

    from console.actions.action import Action
    from console.actions.registry import Registry
    from console.model.engine import EngineSpec
    from console.model.frame import Frame
    from console.model.modes import ExperimentContext
    from console.services.ports import ExperimentsPort
    from console.session.port import SessionPort
    from console.tui.replay_player import Player
    from console.tui.screens.dialogs.dialog import Dialog
    from console.tui.view import View

Severity = Literal["information", "warning", "error"]


class AppPort(Protocol):
    """Implemented by `console.tui.app.ConsoleApp`."""

    session: "SessionPort | None"
    """None until the session is open."""
    view: "View"
    experiments: "ExperimentContext"
    registry: "Registry"
    player: "Player | None"
    """Set while a stored run is replayed."""
    clock: Callable[[], float]
    """Monotonic seconds: the time base of replays."""
    failure: str
    """Why the session could not be opened; empty if it could."""
    theme: str

    @property
    def frame(self) -> "Frame":
        """The frame on the screen."""
        ...

    @property
    def engine_spec(self) -> "EngineSpec":
        """The arguments with which the engine was, or will be, started."""
        ...

    @property
    def open_session(self) -> "SessionPort":
        """The session. Raises CommandRefused until it is open."""
        ...

    @property
    def experiments_port(self) -> "ExperimentsPort":
        """The store and the sweeps. Raises CommandRefused until they are open."""
        ...

    @property
    def current_mode(self) -> str: ...

    @property
    def screen(self) -> "Screen[Any]": ...

    def command(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Runs a command in the background. A refusal becomes a message."""
        ...

    def in_background(
        self,
        what: str,
        coroutine: Coroutine[Any, Any, None],
        *,
        owner: "DOMNode | None" = None,
        failed: Callable[[str], None] | None = None,
    ) -> "Worker[None]":
        """Runs a coroutine in a worker that ends with its `owner`, by default the app. A fault is logged and shown."""
        ...

    def open_dialog(self, dialog: "Dialog[Any]", then: Callable[[Any], None] | None) -> None:
        """Opens a dialog. `then` takes its answer, None if it was cancelled."""
        ...

    async def go_to(self, mode: str) -> None:
        """Shows another mode. Leaving the replay ends it."""
        ...

    def update_view(self, **changes: Any) -> None:
        """Changes the view and draws at once."""
        ...

    def update_context(self, **changes: Any) -> None:
        """Changes the experiment context and draws at once."""
        ...

    def toggle_freeze(self) -> None:
        """Stops or resumes drawing. The session continues."""
        ...

    def tick(self) -> None:
        """Runs one tick of the clock."""
        ...

    def begin_sweep(self, source: str, *, resume: bool) -> None:
        """Starts a sweep in a worker of the app."""
        ...

    async def end_sweep(self) -> None:
        """Stops the running sweep now. The partial cell is kept."""
        ...

    async def end_recording(self) -> str:
        """Ends the run that is recorded from Live, if there is one; returns what to tell the user."""
        ...

    def ask_to_quit(self) -> None:
        """Opens the Quit dialog, or quits if nothing is running."""
        ...

    def show_message(
        self, message: str, *, title: str = "", severity: Severity = "information", timeout: float = 6
    ) -> None:
        """Shows a message in the corner. `{id}` in it becomes the key of that action."""
        ...

    def cli_form(self, action: "Action") -> str:
        """The shell command that does the same; empty where there is none."""
        ...

    async def action_perform(self, action_id: str) -> None:
        """Performs an action, or shows why it is not available now."""
        ...

    def action_command_palette(self) -> None: ...

    def copy_to_clipboard(self, text: str) -> None: ...

    def save_screenshot(self) -> str:
        """Saves the screen as an SVG file; returns its path."""
        ...

    def export_screenshot(self, *, title: str | None = None) -> str:
        """Returns the screen as SVG."""
        ...

    def call_after_refresh(self, callback: Callable[[], Any]) -> bool: ...

    def run_worker(self, work: Coroutine[Any, Any, None], *, exit_on_error: bool = True) -> Any: ...

    def exit(self, result: int | None = None) -> None: ...
