"""A tile that holds a chart: redrawn when a new interval has come or the person looks differently, not at 10 Hz."""

from console.frame import Frame
from console.tui.view import View
from console.tui.widgets.tile import Tile

TURNS = 3
"""Charts take turns on the clock's ticks, so that a key never waits for all of them."""


class ChartTile(Tile):
    """Repaints all of itself, rarely."""

    SELECTABLE = False
    _look: tuple[object, ...] = ()
    _shown: tuple[object, ...] = ()

    def show(self, frame: Frame, view: View, tick: int) -> None:
        if not self.display or not self.ink_size:
            return
        look = (view.zoom, view.log_y, self.ink_size, frame.engine.state, frame.load.running)
        shown = (frame.points_version, len(frame.markers))
        if look != self._look or (shown != self._shown and tick % TURNS == self._turn):
            self._look, self._shown = look, shown
            self.put(self._draw(frame, view, self.ink_size))
