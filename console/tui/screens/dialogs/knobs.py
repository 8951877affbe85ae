"""The Knobs dialog: how the engine uses its machine. Bounds change at once, instances and threads by a switch."""

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from console.model.frame import Frame
from console.tui.screens.dialogs.dialog import Dialog
from console.tui.styled_text import Line, Lines, Span, clip, line
from console.tui.view import View

AUTO = 0


@dataclass(frozen=True, slots=True)
class Knob:
    """One row: what it is called, what it means, and between which numbers it lies. A least of 0 is `auto`."""

    name: str
    note: str
    least: int
    most: int


KNOBS = (
    Knob("instances", "forward passes at a time: a switch", 1, 64),
    Knob("threads", "of one forward pass: a switch", 1, 256),
    Knob("tokens", "most in one forward pass, padding included", AUTO, 1 << 20),
    Knob("texts", "most in one forward pass", AUTO, 1 << 14),
    Knob("wait ms", "an idle instance waits for more: 0 never", 0, 1000),
    Knob("coalesce", "requests share batches: 1 on, 0 off", 0, 1),
)
_BOUNDS = ("tokens", "texts")
_VALUE_WIDTH = 16


@dataclass(frozen=True, slots=True)
class KnobChoice:
    """What was turned: fields of Batching for Configure, and the counts for a switch (0: as they are)."""

    batching: dict[str, int | float | bool]
    instances: int = 0
    threads: int = 0


class KnobsDialog(Dialog[KnobChoice]):
    """The form works on its own copy; nothing changes until it is applied."""

    HEADING = "knobs"
    WIDTH = 74
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,shift+tab", "move(-1)", "Up", show=False),
        Binding("down,tab", "move(1)", "Down", show=False),
        Binding("left", "turn(-1)", "Less", show=False),
        Binding("right", "turn(1)", "More", show=False),
        Binding("a", "auto", "Auto", show=False),
        Binding("enter", "apply", "Apply", show=False),
    ]

    def __init__(self, frame: Frame, view: View) -> None:
        super().__init__(frame, view)
        self._before = self._found()
        self.values = dict(self._before)
        self.row = 0
        self._fresh = True

    def _found(self) -> dict[str, int]:
        """A bound that is what the plan says stands at auto."""
        engine = self.frame.engine
        knobs, plan = engine.batching, engine.plan
        return {
            "instances": engine.effective.instances,
            "threads": engine.effective.threads,
            "tokens": AUTO if knobs.max_batch_tokens == plan.max_batch_tokens else knobs.max_batch_tokens,
            "texts": AUTO if knobs.max_batch_items == plan.max_batch_items else knobs.max_batch_items,
            "wait ms": round(knobs.max_wait_ms),
            "coalesce": int(knobs.coalesce),
        }

    def keys(self) -> str:
        return "↑↓ knob · ←→ or digits change · a auto · enter apply · esc cancel"

    def lines(self, width: int) -> Lines:
        rows = [self._row(place, knob) for place, knob in enumerate(KNOBS)]
        plan = self.frame.engine.plan
        how = f"measured here, {plan.texts_per_s:,.0f} texts/s" if plan.texts_per_s else "a rule of thumb"
        foot = line(Span(f"auto is {how}: i says more", "muted")) if plan.instances else line()
        return tuple(clip(row, width) for row in (*rows, line(), foot))

    def _row(self, place: int, knob: Knob) -> Line:
        here, value = place == self.row, self.values[knob.name]
        plan = self.frame.engine.plan
        shown = f" {value:,} "
        if knob.name in _BOUNDS and value == AUTO:
            planned = plan.max_batch_tokens if knob.name == "tokens" else plan.max_batch_items
            shown = f" auto {planned:,} "
        changed = Span(" *" if value != self._before[knob.name] else "  ", "warn")
        return line(
            Span("▸ " if here else "  ", "accent"),
            Span(f"{knob.name:<12}", "strong" if here else "label"),
            Span(shown, "cursor" if here else "strong"),
            changed,
            Span(" " * (_VALUE_WIDTH - len(shown)) + knob.note, "muted"),
        )

    def action_move(self, rows: int) -> None:
        """To another knob."""
        self.row, self._fresh = (self.row + rows) % len(KNOBS), True
        self.redraw()

    def action_turn(self, by: int) -> None:
        """Doubled or halved; from auto on from what the plan says."""
        knob = KNOBS[self.row]
        value = self.values[knob.name]
        if knob.name in _BOUNDS and value == AUTO:
            plan = self.frame.engine.plan
            value = plan.max_batch_tokens if knob.name == "tokens" else plan.max_batch_items
        self._set(knob, max(1, value * 2) if by > 0 else value // 2)

    def action_auto(self) -> None:
        """Gives a bound back to the plan, and the counts too."""
        knob, plan = KNOBS[self.row], self.frame.engine.plan
        planned = {"instances": plan.instances, "threads": plan.threads, "coalesce": 1}
        self._set(knob, planned.get(knob.name, AUTO))

    def on_key(self, event: events.Key) -> None:
        """A number is typed digit by digit."""
        knob = KNOBS[self.row]
        digit = event.character if (event.character or "").isdecimal() else None
        if digit is None and event.key not in {"backspace", "ctrl+h"}:
            return
        written = "" if self._fresh else str(self.values[knob.name])
        written = written + digit if digit else written[:-1]
        self._set(knob, int(written or 0))
        self._fresh = False
        event.stop()

    def _set(self, knob: Knob, value: int) -> None:
        self.values[knob.name] = max(knob.least, min(knob.most, value))
        self.redraw()

    def action_apply(self) -> None:
        """Only what differs is told."""
        turned = {name: value for name, value in self.values.items() if value != self._before[name]}
        self.dismiss(
            KnobChoice(
                batching={_FIELDS[name]: _as(name, value) for name, value in turned.items() if name in _FIELDS},
                instances=turned.get("instances", 0),
                threads=turned.get("threads", 0),
            )
        )


_FIELDS = {
    "tokens": "max_batch_tokens",
    "texts": "max_batch_items",
    "wait ms": "max_wait_ms",
    "coalesce": "coalesce",
}


def _as(name: str, value: int) -> int | float | bool:
    return bool(value) if name == "coalesce" else float(value) if name == "wait ms" else value
