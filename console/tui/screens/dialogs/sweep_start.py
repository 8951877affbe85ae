"""The New sweep dialog: presets and a file, with the cells and the estimated duration of each."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.binding import Binding, BindingType

from console.model.durations import duration
from console.model.engine import EngineState
from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.services.ports import SweepOffer
from console.tui.screens.dialogs.dialog import Dialog
from console.tui.styled_text import Line, Lines, Span, clean, clip, line, wrap
from console.tui.view import View

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

FILE = "file"
"""The row of a specification file."""


@dataclass(frozen=True, slots=True)
class SweepChoice:
    """The sweep to run, and whether to resume the newest sweep of that name."""

    source: str
    resume: bool


class SweepDialog(Dialog[SweepChoice]):
    """Arrows choose, Tab toggles resume, a path can be typed. Enter starts a sweep whose estimate is shown."""

    HEADING = "new sweep"
    WIDTH = 78
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("tab", "resume", "Resume", show=False),
        Binding("enter", "start", "Start", show=False),
    ]

    def __init__(
        self, frame: Frame, view: View, presets: tuple[str, ...], read_offer: Callable[[str], Awaitable[SweepOffer]]
    ) -> None:
        super().__init__(frame, view)
        self.rows = (*presets, FILE)
        self.row = 0
        self.path = ""
        self.resume: dict[str, bool] = {}
        self.offers: dict[str, SweepOffer] = {}
        self.error = ""
        self._read_offer = read_offer

    def on_mount(self) -> None:
        super().on_mount()
        self._read_in_background(*self.rows[:-1])

    def _read_in_background(self, *sources: str) -> None:
        app = cast("AppPort", self.app)
        app.in_background("reading a sweep", self._read(*sources), owner=self, failed=self._show_error)

    def _show_error(self, error: str) -> None:
        self.error = error
        self.redraw()

    async def _read(self, *sources: str) -> None:
        for source in sources:
            try:
                self.offers[source] = await self._read_offer(source)
                self.error = ""
            except CommandRefused as refusal:
                self.error = str(refusal)
            if self.is_mounted:
                self.redraw()

    @property
    def source(self) -> str:
        """The name of the preset, or the typed path; `./` marks a path without a slash."""
        name = self.rows[self.row]
        path = self.path.strip()
        if name != FILE:
            return name
        return path if not path or "/" in path or path.endswith(".toml") else f"./{path}"

    @property
    def offer(self) -> SweepOffer | None:
        """The cells and the estimate of the selected row; None until they have been read."""
        return self.offers.get(self.source)

    @property
    def resumes(self) -> bool:
        """Whether to resume: by default if the newest sweep of that name is incomplete."""
        offer = self.offer
        unfinished = offer is not None and 0 < offer.measured < offer.points
        return unfinished and self.resume.get(self.source, True)

    def keys(self) -> str:
        if self.rows[self.row] == FILE and self.offer is None:
            return "type the path · enter read · esc cancel"
        return "↑↓ choose · enter start · esc cancel"

    def lines(self, width: int) -> Lines:
        rows: list[Line] = [self._row(at, name) for at, name in enumerate(self.rows)]
        rows += [line(), *self._about(width)]
        rows += [line()] * (len(self.rows) + 8 - len(rows))
        return tuple(clip(row, width) for row in rows)

    def _row(self, at: int, name: str) -> Line:
        here, click = at == self.row, f"screen.choose_at({at})"
        if name == FILE:
            text = self.path + ("▏" if here else "") or "your own specification"
            role = "cursor" if here else "muted"
            return line(_arrow(here), Span(f"{name:<12}", _name(here), click), Span(f" {clean(text)} ", role, click))
        offer = self.offers.get(name)
        size = f"{offer.points:>4} cells  about {duration(offer.expected_s):<8}" if offer else "     …"
        about = clean(offer.about) if offer else ""
        spans = (Span(f"{name:<12}", "cursor" if here else "strong", click), Span(f"{size}  ", "value", click))
        return line(_arrow(here), *spans, Span(about, "muted", click))

    def _about(self, width: int) -> list[Line]:
        if self.error:
            return wrap(self.error, width, "warn", 5)
        offer = self.offer
        if offer is None:
            return [line(Span("reading…" if self.rows[self.row] != FILE else "type its path, then enter", "muted"))]
        fidelity = ", fidelity measured once for each" if offer.fidelity else ""
        where = f"on {offer.deployments} deployment{'s' if offer.deployments != 1 else ''}"
        rows = [
            line(Span(f"{offer.points} cells ", "strong"), Span(f"{where}{fidelity}")),
            line(
                Span(f"about {duration(offer.rest_s if self.resumes else offer.expected_s)}", "strong"),
                Span(", longer if a model must be prepared first", "muted"),
            ),
        ]
        if 0 < offer.measured < offer.points:
            on = self.resumes
            rows.append(
                line(
                    *(Span("tab ", "key", "screen.resume"), Span("resume ", "label", "screen.resume")),
                    *(Span(" on ", "cursor" if on else "muted"), Span(" off ", "muted" if on else "cursor")),
                    Span(f"  {offer.measured} of {offer.points} cells are already measured", "muted"),
                )
            )
        rows += [line(Span(f"⚠ {words}", "warn")) for words in self._consequences()]
        return rows

    def _consequences(self) -> list[str]:
        words = []
        if self.frame.load.running:
            words.append("stops the running load")
        if self.frame.engine.state in {EngineState.STOPPED, EngineState.LOST} and not self.frame.engine.remote:
            words.append("starts the engine")
        elif not self.frame.engine.remote:
            words.append("switches the engine for each cell; the last deployment stays")
        return words

    # ---- keys

    def action_move(self, by: int) -> None:
        """Moves the cursor by rows."""
        self.action_choose_at((self.row + by) % len(self.rows))

    def action_choose_at(self, row: int) -> None:
        """Moves the cursor to a row."""
        self.row, self.error = row, ""
        self.redraw()

    def action_resume(self) -> None:
        """Toggles whether the newest sweep of this name is resumed."""
        self.resume[self.source] = not self.resumes
        self.redraw()

    def on_key(self, event: events.Key) -> None:
        """Types the path. In other rows j and k move the cursor."""
        if self.rows[self.row] != FILE:
            moves = {"j": 1, "k": -1}
            if event.key in moves:
                self.action_move(moves[event.key])
            return
        if event.key in {"backspace", "ctrl+h"}:
            self.path = self.path[:-1]
        elif event.key == "ctrl+u":
            self.path = ""
        elif event.is_printable and event.character:
            self.path += event.character
        else:
            return
        event.stop()
        self.error = ""
        self.redraw()

    def on_paste(self, event: events.Paste) -> None:
        """Inserts a pasted path."""
        if self.rows[self.row] == FILE:
            self.path += " ".join(event.text.split())
            self.redraw()

    def action_start(self) -> None:
        """Starts the sweep. A file is read first, so that its estimate is shown before it starts."""
        if self.offer is not None:
            self.dismiss(SweepChoice(self.source, self.resumes))
        elif self.source:
            self._read_in_background(self.source)
        else:
            self.error = "Type the path of the file, or choose a preset with the arrows"
            self.redraw()


def _arrow(here: bool) -> Span:
    return Span("▸ " if here else "  ", "accent")


def _name(here: bool) -> str:
    return "strong" if here else "label"
