"""The Quit dialog: stop the engine, leave it running, or cancel."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from console.model.frame import Frame
from console.tui.screens.dialogs.dialog import Dialog
from console.tui.styled_text import Line, Lines, Span, clean, line
from console.tui.view import View

STOP = "stop"
DETACH = "detach"
STAY = "stay"


class QuitDialog(Dialog[str]):
    """Asks what to do with the engine: by a letter, by arrows and Enter, or by a click."""

    HEADING = "quit"
    WIDTH = 70
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("enter", "choose", "Choose", show=False),
        Binding("s", "choose_by('stop')", "Stop", show=False),
        Binding("d", "choose_by('detach')", "Detach", show=False),
        Binding("c", "choose_by('stay')", "Cancel", show=False),
    ]

    def __init__(self, frame: Frame, view: View) -> None:
        super().__init__(frame, view)
        self.row = 0

    def show(self, frame: Frame, view: View, tick: int) -> None:
        """Draws the frame, unless it is one of a replay: the question is about the live engine."""
        if frame.replay is None:
            super().show(frame, view, tick)

    @property
    def choices(self) -> tuple[tuple[str, str, str, str], ...]:
        """Letter, answer, name and explanation of each choice."""
        engine = self.frame.engine
        stay = ("c", STAY, "Cancel", "back to the console")
        if engine.remote:
            return (("s", STOP, "Quit", f"stops the load; the engine at {clean(engine.address)} keeps running"), stay)
        return (
            ("s", STOP, "Stop the engine", "after its last request, then quit"),
            ("d", DETACH, "Leave it running", f"it keeps serving at {clean(engine.address)}"),
            stay,
        )

    def keys(self) -> str:
        return "↑↓ choose · enter · esc cancel"

    def lines(self, width: int) -> Lines:
        engine, load = self.frame.engine, self.frame.load
        question = "Quit?" if engine.remote else "Quit: stop the engine too?"
        state = "The load is still running." if load.running else f"The engine is {engine.state.value}."
        rows: list[Line] = [line(Span(question, "strong")), line(Span(state, "value"))]
        if self.frame.experiments.sweep_stage.active:
            rows.append(line(Span("⚠ a sweep is running: measured cells are kept, and it can be resumed", "warn")))
        rows.append(line())
        for index, (letter, answer, name, meaning) in enumerate(self.choices):
            here = index == self.row
            click = f"screen.choose_by('{answer}')"
            rows.append(
                line(
                    Span("▸ " if here else "  ", "accent"),
                    Span(f" {letter} ", "key", click),
                    Span(f" {name:<17}", "cursor" if here else "strong", click),
                    Span(f"  {meaning}", "muted", click),
                )
            )
        return tuple(rows)

    def action_move(self, rows: int) -> None:
        """Moves the cursor to another choice."""
        self.row = (self.row + rows) % len(self.choices)
        self.redraw()

    def action_choose(self) -> None:
        """Closes with the choice under the cursor."""
        self.dismiss(self.choices[self.row][1])

    def action_choose_by(self, answer: str) -> None:
        """Closes with an answer, if it is one of the choices."""
        if any(answer == choice[1] for choice in self.choices):
            self.dismiss(answer)
