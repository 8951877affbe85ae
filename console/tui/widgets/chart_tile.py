"""A tile that holds a chart: redrawn when a new interval has come or the person looks differently, not at 10 Hz."""

from console.frame import Frame
from console.tui.view import View
from console.tui.widgets.tile import Tile


class ChartTile(Tile):
    """Repaints all of itself, rarely."""

    _key: tuple[object, ...] = ()

    def show(self, frame: Frame, view: View, tick: int) -> None:
        if not self.display or not self.size:
            return
        look = (view.zoom, view.log_y, self.size)
        key = (*look, frame.points_version, len(frame.markers), frame.engine.state, frame.load.running)
        if key != self._key:
            self._key = key
            self.put(self._draw(frame, view, self.size))
