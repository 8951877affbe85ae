"""The dialog of a run: everything that the store has of it, above its throughput and latency over time."""

from typing import ClassVar

from textual.binding import BindingType
from textual.geometry import Size

from console.model.frame import Frame
from console.store.opened_run import OpenedRun
from console.tui.panels.runs import facts
from console.tui.panels.runs.chart import CHART_ROWS, curves
from console.tui.screens.dialogs.dialog import SCROLL_KEYS, Dialog
from console.tui.styled_text import Lines
from console.tui.view import View


class RunDetails(Dialog[None]):
    """Shows everything in full; it scrolls."""

    BINDINGS: ClassVar[list[BindingType]] = [*SCROLL_KEYS]

    def __init__(self, frame: Frame, view: View, opened: OpenedRun) -> None:
        super().__init__(frame, view)
        self.HEADING = facts.title(opened)
        self.opened = opened

    @property
    def WIDTH(self) -> int:  # type: ignore[override]  # noqa: N802 a constant elsewhere, here it depends on the screen
        """Wider on a large screen, for the charts."""
        return 110 if self.size.width >= 130 else 88

    def keys(self) -> str:
        return "esc close"

    def lines(self, width: int) -> Lines:
        return (*facts.facts(self.opened, width), (), *curves(self.opened, Size(width, CHART_ROWS)))
