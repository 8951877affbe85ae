"""The Load dialog: a form for the load. Arrows move and change, digits and letters type, Enter starts or applies."""

from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from console.actions.engine import MAX_BATCH, MAX_CONCURRENCY, MAX_RATE
from console.model.frame import Frame
from console.model.load import LoadSpec
from console.tui.screens.dialogs.dialog import Dialog
from console.tui.styled_text import Line, Lines, Span, clean, clip, line
from console.tui.view import View

CORPORA = ("short", "mixed", "long", "file")
CORPUS_NOTES = {
    "short": "5–12 words, as in queries",
    "mixed": "3–60 words",
    "long": "up to the model's limit",
    "file": "one text per line, UTF-8",
}
WORKLOADS = ("texts", "pairs")
ROWS = ("batch", "concurrency", "rate", "arrival", "workload", "corpus", "file", "stream", "coalesce")
NOTES = {
    "batch": "texts in a request",
    "concurrency": "requests in flight (closed loop)",
    "rate": "open-loop rate, requests/s (0 = closed loop)",
    "arrival": "distribution of the requests in time",
    "workload": "pairs: the Similarity call",
    "stream": "EmbedStream instead of unary calls",
    "coalesce": "requests share batches",
}
MINIMA = {"batch": 1, "concurrency": 1, "rate": 0}
MAXIMA = {"batch": MAX_BATCH, "concurrency": MAX_CONCURRENCY, "rate": MAX_RATE}
ARRIVALS = ("poisson", "constant")


@dataclass(frozen=True, slots=True)
class LoadChoice:
    """The load, whether requests share batches, and what to do: `set`, `start` or `stop`."""

    spec: LoadSpec
    coalesce: bool
    then: str


class LoadDialog(Dialog[LoadChoice]):
    """A form on a copy of the load; Enter applies it."""

    HEADING = "load"
    WIDTH = 74
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("shift+tab", "move(-1)", "Up", show=False),
        Binding("tab", "move(1)", "Down", show=False),
        Binding("left", "turn(-1)", "Less", show=False),
        Binding("right", "turn(1)", "More", show=False),
        Binding("enter", "apply", "Apply", show=False),
    ]

    def __init__(self, frame: Frame, view: View) -> None:
        super().__init__(frame, view)
        spec = frame.load.spec
        named = spec.corpus in CORPORA
        self.spec = spec
        self.corpus = spec.corpus if named else "file"
        self.path = "" if named else spec.corpus
        self.coalesce = frame.engine.batching.coalesce
        self.row = 0
        self._fresh = True
        self._error = ""

    @property
    def rows(self) -> tuple[str, ...]:
        """The visible fields: the path only if the corpus is a file, the arrivals only if there is a rate."""
        hidden = set() if self.corpus == "file" else {"file"}
        hidden |= set() if self.spec.is_open else {"arrival"}
        return tuple(row for row in ROWS if row not in hidden)

    @property
    def field(self) -> str:
        """The field under the cursor."""
        return self.rows[min(self.row, len(self.rows) - 1)]

    def keys(self) -> str:
        if self.field == "file":
            return "type the path · enter apply · esc cancel"
        if self.frame.load.running:
            return "↑↓ field · ←→ change · enter apply · x stop load · esc cancel"
        return "↑↓ field · ←→ change · enter start · a apply without starting · esc cancel"

    def lines(self, width: int) -> Lines:
        rows = [self._row(name) for name in self.rows]
        state = "the load is running: changes take effect at once" if self.frame.load.running else "the load is off"
        foot = line(Span(self._error, "warn")) if self._error else line(Span(state, "muted"))
        return tuple(clip(row, width) for row in (*rows, line(), foot))

    def _row(self, name: str) -> Line:
        here = name == self.field
        note = CORPUS_NOTES[self.corpus] if name == "corpus" else NOTES.get(name, "")
        click = f"screen.turn_at({self.rows.index(name)})"
        return line(
            Span("▸ " if here else "  ", "accent"),
            Span(f"{name:<12}", "strong" if here else "label", click),
            *self._value(name, here, click),
            Span(f"  {note}", "muted"),
        )

    def _value(self, name: str, here: bool, click: str) -> Line:
        match name:
            case "file":
                return line(Span(clean(self.path) + ("▏" if here else ""), "cursor" if here else "value", click))
            case "arrival":
                return self._choices(ARRIVALS, self.spec.arrival, here, click)
            case "workload":
                return self._choices(WORKLOADS, self.spec.workload, here, click)
            case "corpus":
                return self._choices(CORPORA, self.corpus, here, click)
            case "stream" | "coalesce":
                on = self.spec.stream if name == "stream" else self.coalesce
                return self._choices(("on", "off"), "on" if on else "off", here, click)
            case _:
                number = f" {getattr(self.spec, name):g} "
                return line(Span(number, "cursor" if here else "strong", click))

    def _choices(self, names: tuple[str, ...], chosen: str, here: bool, click: str) -> Line:
        spans = []
        for name in names:
            role = ("cursor" if here else "strong") if name == chosen else "muted"
            spans.append(Span(f" {name} ", role, click))
        return tuple(spans)

    def action_move(self, rows: int) -> None:
        """Moves the cursor to another field."""
        self.row = (min(self.row, len(self.rows) - 1) + rows) % len(self.rows)
        self._fresh = True
        self.redraw()

    def action_turn_at(self, row: int) -> None:
        """Moves the cursor to the clicked field; a second click changes it."""
        if row == self.row:
            self.action_turn(1)
        self.row, self._fresh = row, True
        self.redraw()

    def action_turn(self, by: int) -> None:
        """Changes the value: doubles or halves it, or takes the next or previous choice."""
        self._error = ""
        match self.field:
            case "batch" | "concurrency" | "rate" as name:
                value = int(getattr(self.spec, name))
                self._set_number(name, max(value * 2, 1) if by > 0 else value // 2)
            case "arrival":
                self.spec = replace(self.spec, arrival=ARRIVALS[(ARRIVALS.index(self.spec.arrival) + by) % 2])
            case "workload":
                other = WORKLOADS[(WORKLOADS.index(self.spec.workload) + by) % len(WORKLOADS)]
                self.spec = replace(self.spec, workload=other)
            case "corpus":
                self.corpus = CORPORA[(CORPORA.index(self.corpus) + by) % len(CORPORA)]
            case "stream":
                self.spec = replace(self.spec, stream=not self.spec.stream)
            case "coalesce":
                self.coalesce = not self.coalesce
        self.redraw()

    def _set_number(self, name: str, value: int) -> None:
        bounded = max(MINIMA[name], min(MAXIMA[name], value))
        match name:
            case "batch":
                self.spec = replace(self.spec, batch=bounded)
            case "concurrency":
                self.spec = replace(self.spec, concurrency=bounded)
            case _:
                self.spec = replace(self.spec, rate=float(bounded))

    def on_key(self, event: events.Key) -> None:
        """Types into a path or a number. In other fields letters are the keys of the dialog."""
        if event.key in {"enter", "escape", "tab", "shift+tab", "up", "down"}:
            return
        name = self.field
        if name == "file":
            self._type_path(event)
        elif name in MAXIMA and (event.key in {"backspace", "ctrl+h"} or (event.character or "").isdecimal()):
            self._type_digit(name, event.character if (event.character or "").isdecimal() else None)
            event.stop()
        else:
            self._letter(event)

    def _type_path(self, event: events.Key) -> None:
        if event.key in {"backspace", "ctrl+h"}:
            self.path = self.path[:-1]
        elif event.key == "ctrl+u":
            self.path = ""
        elif event.is_printable and event.character:
            self.path += event.character
        else:
            return
        event.stop()
        self._error = ""
        self.redraw()

    def _type_digit(self, name: str, digit: str | None) -> None:
        present = str(int(getattr(self.spec, name)))
        typed = "" if self._fresh else present
        self._fresh = False
        self._set_number(name, int((typed + digit) if digit else (present[:-1] or MINIMA[name])))
        self.redraw()

    def _letter(self, event: events.Key) -> None:
        moves = {"j": (self.action_move, 1), "k": (self.action_move, -1)}
        turns = {"h": (self.action_turn, -1), "l": (self.action_turn, 1), "space": (self.action_turn, 1)}
        if event.key in moves or event.key in turns:
            act, by = {**moves, **turns}[event.key]
            act(by)
        elif event.key == "x" and self.frame.load.running:
            self._finish("stop")
        elif event.key == "a" and not self.frame.load.running:
            self._finish("set")
        else:
            return
        event.stop()

    def on_paste(self, event: events.Paste) -> None:
        """Inserts a pasted path."""
        if self.field == "file":
            self.path += event.text.strip().replace("\n", "")
            self.redraw()

    def action_apply(self) -> None:
        """Changes the running load, or starts one."""
        self._finish("set" if self.frame.load.running else "start")

    def _finish(self, then: str) -> None:
        if self.corpus == "file" and not self.path.strip() and then != "stop":
            self._error = "A file corpus needs a path: type it in the field `file`"
            self.row = self.rows.index("file")
            self.redraw()
            return
        corpus = self.path.strip() if self.corpus == "file" else self.corpus
        self.dismiss(LoadChoice(replace(self.spec, corpus=corpus), self.coalesce, then))
