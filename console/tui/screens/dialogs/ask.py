"""Small dialogs: a line of text, a confirmation, and a choice."""

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from console.model.frame import Frame
from console.tui.screens.dialogs.dialog import Dialog
from console.tui.styled_text import Line, Lines, Span, clean, line, wrap
from console.tui.view import View


class TextDialog(Dialog[str]):
    """Asks for a line of text. Enter accepts, Esc cancels."""

    WIDTH = 76
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "accept", "Accept", show=False)]

    def __init__(
        self, frame: Frame, view: View, heading: str, about: str, text: str = "", *, optional: bool = False
    ) -> None:
        """`optional`: an empty line is accepted as an answer."""
        super().__init__(frame, view)
        self.HEADING = heading
        self.about = about
        self.text = text
        self.optional = optional

    def keys(self) -> str:
        return "type · enter accept · ^u clear · esc cancel"

    def lines(self, width: int) -> Lines:
        room = max(1, width - 3)
        visible = clean(self.text)[-room:]
        field = line(Span("▸ ", "accent"), Span((visible + "▏").ljust(width - 2), "cursor"))
        return (*wrap(self.about, width, "muted"), line(), field)

    def on_key(self, event: events.Key) -> None:
        if event.key in {"backspace", "ctrl+h"}:
            self.text = self.text[:-1]
        elif event.key == "ctrl+u":
            self.text = ""
        elif event.is_printable and event.character:
            self.text += event.character
        else:
            return
        event.stop()
        self.redraw()

    def on_paste(self, event: events.Paste) -> None:
        """Inserts pasted text as one line."""
        self.text += " ".join(event.text.split())
        self.redraw()

    def action_accept(self) -> None:
        """Closes with the text; with None for an empty line that is not optional."""
        text = self.text.strip()
        self.dismiss(text if text or self.optional else None)


class ConfirmDialog(Dialog[bool]):
    """Asks for a confirmation. Only y confirms; Enter cancels."""

    WIDTH = 72
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", show=False),
        Binding("n,enter", "answer(False)", "No", show=False),
    ]

    def __init__(self, frame: Frame, view: View, heading: str, question: str, about: str, yes: str) -> None:
        super().__init__(frame, view)
        self.HEADING = heading
        self.question = question
        self.about = about
        self.yes = yes

    def keys(self) -> str:
        return f"y {self.yes} · n, esc cancel"

    def lines(self, width: int) -> Lines:
        rows: list[Line] = [*wrap(self.question, width, "strong"), *wrap(self.about, width, "muted"), line()]
        rows.append(
            line(
                *(Span(" y ", "key", "screen.answer(True)"), Span(f" {self.yes}    ", "bad", "screen.answer(True)")),
                *(Span(" n ", "key", "screen.answer(False)"), Span(" cancel", "label", "screen.answer(False)")),
            )
        )
        return tuple(rows)

    def action_answer(self, yes: bool) -> None:
        """Closes with the answer."""
        self.dismiss(yes)


class ChoiceDialog(Dialog[str]):
    """Asks for one of a few answers: by its letter, by arrows and Enter, or by a click."""

    WIDTH = 72
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]

    def __init__(
        self, frame: Frame, view: View, heading: str, question: str, choices: tuple[tuple[str, str, str], ...]
    ) -> None:
        """`choices`: letter, name and explanation. The letter is the answer."""
        super().__init__(frame, view)
        self.HEADING = heading
        self.question = question
        self.choices = choices
        self.row = 0

    def keys(self) -> str:
        return "↑↓ choose · enter · esc cancel"

    def lines(self, width: int) -> Lines:
        rows: list[Line] = [*wrap(self.question, width), line()]
        for at, (letter, name, meaning) in enumerate(self.choices):
            here, click = at == self.row, f"screen.choose_by('{letter}')"
            rows.append(
                line(
                    Span("▸ " if here else "  ", "accent"),
                    Span(f" {letter} ", "key", click),
                    Span(f" {name:<18}", "cursor" if here else "strong", click),
                    Span(f"  {meaning}", "muted", click),
                )
            )
        return tuple(rows)

    def on_key(self, event: events.Key) -> None:
        if event.character and any(event.character == letter for letter, _, _ in self.choices):
            event.stop()
            self.dismiss(event.character)

    def action_move(self, rows: int) -> None:
        """Moves the cursor to another choice."""
        self.row = (self.row + rows) % len(self.choices)
        self.redraw()

    def action_choose(self) -> None:
        """Closes with the choice under the cursor."""
        self.dismiss(self.choices[self.row][0])

    def action_choose_by(self, letter: str) -> None:
        """Closes with a choice; called by a click."""
        self.dismiss(letter)
