"""A tile with a chart. It is redrawn for a new interval or another view, not at 10 Hz."""

from console.model.frame import Frame
from console.tui.view import View
from console.tui.widgets.tile import Tile


class ChartTile(Tile):
    """Draws its chart only when the points, the view or the size have changed."""

    SELECTABLE = False
    _drawn_view: tuple[object, ...] = ()
    _drawn_points: tuple[object, ...] = ()

    def show(self, frame: Frame, view: View, tick: int) -> None:
        if not self.display or not self.text_size:
            return
        view_key = (view.zoom, view.until_s, view.log_y, self.text_size, frame.engine.state, frame.load.running)
        points_key = (frame.points_version, len(frame.markers), frame.replay and frame.replay.run_id)
        if view_key == self._drawn_view and points_key == self._drawn_points:
            return
        view_changed = bool(self._drawn_view) and view_key != self._drawn_view
        self._drawn_view, self._drawn_points = view_key, points_key
        if view_changed:
            # charts cost the most: the header shows the effect of the key first
            self.call_after_refresh(self._plot, frame, view)
        else:
            self._plot(frame, view)

    def _plot(self, frame: Frame, view: View) -> None:
        self.put(self._draw(frame, view, self.text_size))
