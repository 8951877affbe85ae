"""A tile that holds a chart: redrawn when a new interval has come or the person looks differently, not at 10 Hz."""

from console.model.frame import Frame
from console.tui.view import View
from console.tui.widgets.tile import Tile


class ChartTile(Tile):
    """Repaints all of itself, rarely."""

    SELECTABLE = False
    _look: tuple[object, ...] = ()
    _shown: tuple[object, ...] = ()

    def show(self, frame: Frame, view: View, tick: int) -> None:
        if not self.display or not self.text_size:
            return
        look = (view.zoom, view.until_s, view.log_y, self.text_size, frame.engine.state, frame.load.running)
        shown = (frame.points_version, len(frame.markers), frame.replay and frame.replay.run_id)
        if look == self._look and shown == self._shown:
            return
        asked_for = bool(self._look) and look != self._look
        self._look, self._shown = look, shown
        if asked_for:
            # a key's echo is in the header first: charts cost the most, so they follow when that is on the screen
            self.call_after_refresh(self._plot, frame, view)
        else:
            self._plot(frame, view)

    def _plot(self, frame: Frame, view: View) -> None:
        self.put(self._draw(frame, view, self.text_size))
