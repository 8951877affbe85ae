"""Protocols of screens. The app and the handlers use them; the command palette, for example, implements neither."""

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from console.model.frame import Frame
    from console.tui.view import View


@runtime_checkable
class ShowsFrames(Protocol):
    """A screen that draws frames: every mode and every dialog."""

    def show(self, frame: "Frame", view: "View", tick: int) -> None:
        """Draws the frame. `tick`: number of the clock's tick, 10 a second."""
        ...


@runtime_checkable
class ExportsRows(Protocol):
    """A screen whose content can be exported as JSON or CSV."""

    def export_rows(self) -> list[dict[str, Any]]:
        """What the screen shows, one mapping for each row. Empty where it shows nothing."""
        ...
