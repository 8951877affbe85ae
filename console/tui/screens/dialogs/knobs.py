"""The Knobs dialog: batch limits, which change at once, and instances and threads, which need a switch."""

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from console.model.frame import Frame
from console.tui.screens.dialogs.dialog import Dialog
from console.tui.styled_text import Line, Lines, Span, clip, line
from console.tui.view import View

AUTO = 0
"""Value of a batch limit that is left to the plan."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One row: name, explanation and range. A minimum of 0 is AUTO for the batch limits."""

    name: str
    note: str
    minimum: int
    maximum: int


KNOBS = (
    Knob("instances", "parallel passes; needs a switch", 1, 64),
    Knob("threads", "of one pass; needs a switch", 1, 256),
    Knob("tokens", "maximum in a pass, with padding", AUTO, 1 << 20),
    Knob("texts", "maximum in a pass", AUTO, 1 << 14),
    Knob("wait ms", "idle instance waits for more texts", 0, 1000),
    Knob("coalesce", "requests share batches", 0, 1),
)
_LIMITS = ("tokens", "texts")
_VALUE_WIDTH = 16


@dataclass(frozen=True, slots=True)
class KnobChoice:
    """The changed values: fields of Batching for Configure, and the counts for a switch (0: unchanged)."""

    batching: dict[str, int | float | bool]
    instances: int = 0
    threads: int = 0


class KnobsDialog(Dialog[KnobChoice]):
    """A form on a copy of the values; Enter applies it."""

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
        self._before = self._current_values()
        self.values = dict(self._before)
        self.row = 0
        self._fresh = True

    def _current_values(self) -> dict[str, int]:
        """The values of the engine. A limit that equals the plan's is AUTO."""
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
        how = f"measured here, {plan.texts_per_s:,.0f} texts/s" if plan.texts_per_s else "a rule"
        foot = line(Span(f"auto is {how}; i shows details", "muted")) if plan.instances else line()
        return tuple(clip(row, width) for row in (*rows, line(), foot))

    def _row(self, place: int, knob: Knob) -> Line:
        here, value = place == self.row, self.values[knob.name]
        plan = self.frame.engine.plan
        shown = f" {value:,} "
        if knob.name == "coalesce":
            shown = " on " if value else " off "
        if knob.name in _LIMITS and value == AUTO:
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
        """Moves the cursor to another knob."""
        self.row, self._fresh = (self.row + rows) % len(KNOBS), True
        self.redraw()

    def action_turn(self, by: int) -> None:
        """Doubles or halves the value; AUTO counts as the value of the plan."""
        knob = KNOBS[self.row]
        value = self.values[knob.name]
        if knob.name in _LIMITS and value == AUTO:
            plan = self.frame.engine.plan
            value = plan.max_batch_tokens if knob.name == "tokens" else plan.max_batch_items
        self._set(knob, max(1, value * 2) if by > 0 else value // 2)

    def action_auto(self) -> None:
        """Sets the knob to AUTO, or to the value of the plan."""
        knob, plan = KNOBS[self.row], self.frame.engine.plan
        planned = {"instances": plan.instances, "threads": plan.threads, "coalesce": 1}
        self._set(knob, planned.get(knob.name, AUTO))

    def on_key(self, event: events.Key) -> None:
        """Types a number digit by digit."""
        knob = KNOBS[self.row]
        digit = event.character if (event.character or "").isdecimal() else None
        if digit is None and event.key not in {"backspace", "ctrl+h"}:
            return
        typed = "" if self._fresh else str(self.values[knob.name])
        typed = typed + digit if digit else typed[:-1]
        self._set(knob, int(typed or 0))
        self._fresh = False
        event.stop()

    def _set(self, knob: Knob, value: int) -> None:
        self.values[knob.name] = max(knob.minimum, min(knob.maximum, value))
        self.redraw()

    def action_apply(self) -> None:
        """Closes with the values that have changed."""
        changed_values = {name: value for name, value in self.values.items() if value != self._before[name]}
        self.dismiss(
            KnobChoice(
                batching={_FIELDS[name]: _as(name, value) for name, value in changed_values.items() if name in _FIELDS},
                instances=changed_values.get("instances", 0),
                threads=changed_values.get("threads", 0),
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
