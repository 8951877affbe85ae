"""The New sweep dialog: presets and a file, what each would measure and how long that takes, before anything starts."""

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


@dataclass(frozen=True, slots=True)
class SweepChoice:
    """What to sweep, and whether to go on with the newest sweep of that name."""

    source: str
    resume: bool


class SweepDialog(Dialog[SweepChoice]):
    """Arrows choose, Tab resumes or not, a path can be typed; Enter starts what has an estimate, and no more."""

    HEADING = "new sweep"
    WIDTH = 78
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("tab", "resume", "Resume", show=False),
        Binding("enter", "start", "Start", show=False),
    ]

    def __init__(
        self, frame: Frame, view: View, presets: tuple[str, ...], ask: Callable[[str], Awaitable[SweepOffer]]
    ) -> None:
        super().__init__(frame, view)
        self.rows = (*presets, FILE)
        self.row = 0
        self.path = ""
        self.resume: dict[str, bool] = {}
        self.offers: dict[str, SweepOffer] = {}
        self.complaint = ""
        self._ask = ask

    def on_mount(self) -> None:
        super().on_mount()
        self._look_up_behind(*self.rows[:-1])

    def _look_up_behind(self, *sources: str) -> None:
        app = cast("AppPort", self.app)
        app.in_background("reading a sweep", self._look_up(*sources), owner=self, failed=self._complain)

    def _complain(self, why: str) -> None:
        self.complaint = why
        self.redraw()

    async def _look_up(self, *sources: str) -> None:
        for source in sources:
            try:
                self.offers[source] = await self._ask(source)
                self.complaint = ""
            except CommandRefused as refusal:
                self.complaint = str(refusal)
            if self.is_mounted:
                self.redraw()

    @property
    def source(self) -> str:
        """The preset, or the path as it was typed; it says that it is one even without a slash."""
        name = self.rows[self.row]
        path = self.path.strip()
        if name != FILE:
            return name
        return path if not path or "/" in path or path.endswith(".toml") else f"./{path}"

    @property
    def offer(self) -> SweepOffer | None:
        """What would be measured, as far as it is known."""
        return self.offers.get(self.source)

    @property
    def resumes(self) -> bool:
        """Unless said otherwise: where something is left of an earlier one."""
        offer = self.offer
        unfinished = offer is not None and 0 < offer.measured < offer.points
        return unfinished and self.resume.get(self.source, True)

    def keys(self) -> str:
        if self.rows[self.row] == FILE and self.offer is None:
            return "type the path · enter reads it · esc cancel"
        return "↑↓ choose · enter start · esc cancel"

    def lines(self, width: int) -> Lines:
        rows: list[Line] = [self._row(at, name) for at, name in enumerate(self.rows)]
        rows += [line(), *self._about(width)]
        rows += [line()] * (len(self.rows) + 8 - len(rows))
        return tuple(clip(row, width) for row in rows)

    def _row(self, at: int, name: str) -> Line:
        here, click = at == self.row, f"screen.choose_at({at})"
        if name == FILE:
            text = self.path + ("▏" if here else "") or "a specification of your own"
            role = "cursor" if here else "muted"
            return line(_arrow(here), Span(f"{name:<12}", _name(here), click), Span(f" {clean(text)} ", role, click))
        offer = self.offers.get(name)
        size = f"{offer.points:>4} cells  about {duration(offer.expected_s):<8}" if offer else "     …"
        about = clean(offer.about) if offer else ""
        spans = (Span(f"{name:<12}", "cursor" if here else "strong", click), Span(f"{size}  ", "value", click))
        return line(_arrow(here), *spans, Span(about, "muted", click))

    def _about(self, width: int) -> list[Line]:
        if self.complaint:
            return wrap(self.complaint, width, "warn", 5)
        offer = self.offer
        if offer is None:
            return [line(Span("reading …" if self.rows[self.row] != FILE else "type its path, then enter", "muted"))]
        fidelity = ", fidelity measured once for each" if offer.fidelity else ""
        where = f"on {offer.deployments} deployment{'s' if offer.deployments != 1 else ''}"
        rows = [
            line(Span(f"{offer.points} cells ", "strong"), Span(f"{where}{fidelity}")),
            line(
                Span(f"about {duration(offer.rest_s if self.resumes else offer.expected_s)}", "strong"),
                Span(", more where something has to be prepared first", "muted"),
            ),
        ]
        if 0 < offer.measured < offer.points:
            on = self.resumes
            rows.append(
                line(
                    *(Span("tab ", "key", "screen.resume"), Span("resume ", "label", "screen.resume")),
                    *(Span(" on ", "cursor" if on else "muted"), Span(" off ", "muted" if on else "cursor")),
                    Span(f"  {offer.measured} of {offer.points} cells are measured already", "muted"),
                )
            )
        if offer.knobs:
            rows.append(line(Span("unless named: ", "label"), Span(offer.knobs, "muted")))
        if offer.inherited:
            rows.append(line(Span("as it is now: ", "label"), Span(clean(offer.inherited), "muted")))
        rows += [line(Span(f"⚠ {words}", "warn")) for words in self._consequences()]
        return rows

    def _consequences(self) -> list[str]:
        engine = self.frame.engine
        load = "the running load is stopped" if self.frame.load.running else ""
        down = engine.state in {EngineState.STOPPED, EngineState.LOST} and not engine.remote
        steps = ", ".join(filter(None, (load, "the engine is started" if down else "the engine switches")))
        after = "the engine is stopped again" if down else "engine and load are as they are now"
        return [steps, f"afterwards {after}"]

    # ---- keys

    def action_move(self, by: int) -> None:
        """To another one."""
        self.action_choose_at((self.row + by) % len(self.rows))

    def action_choose_at(self, row: int) -> None:
        """The preset or the file at that line."""
        self.row, self.complaint = row, ""
        self.redraw()

    def action_resume(self) -> None:
        """Goes on with the newest sweep of this name, or begins a new one."""
        self.resume[self.source] = not self.resumes
        self.redraw()

    def on_key(self, event: events.Key) -> None:
        """A path's letters; elsewhere the dialog's own."""
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
        self.complaint = ""
        self.redraw()

    def on_paste(self, event: events.Paste) -> None:
        """A pasted path."""
        if self.rows[self.row] == FILE:
            self.path += " ".join(event.text.split())
            self.redraw()

    def action_start(self) -> None:
        """Starts what has been read; a file is read first, so that its estimate is seen before it starts."""
        if self.offer is not None:
            self.dismiss(SweepChoice(self.source, self.resumes))
        elif self.source:
            self._look_up_behind(self.source)
        else:
            self.complaint = "A file needs its path: type it, or choose a preset with the arrows"
            self.redraw()


def _arrow(here: bool) -> Span:
    return Span("▸ " if here else "  ", "accent")


def _name(here: bool) -> str:
    return "strong" if here else "label"
