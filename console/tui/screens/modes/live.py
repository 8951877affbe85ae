"""The Live screen: the same tiles at every size; a CSS class for each size arranges them."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.events import Resize
from textual.geometry import Size
from textual.screen import Screen

from console.model.frame import Frame
from console.tui.chart.charts import LATENCY, QUEUE, THROUGHPUT, Chart
from console.tui.panels import header, keybar, status
from console.tui.panels.live import engine, events, host, load, matrix, now, replay, stages, switches
from console.tui.view import View
from console.tui.widgets.chart_tile import ChartTile
from console.tui.widgets.tile import Tile

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

SIZES = (("wide", 160, 44), ("medium", 112, 34), ("narrow", 80, 24), ("tiny", 0, 0))
"""Layouts with their minimum width and height, the largest first."""
SLOW = 5
"""Tables are drawn on every fifth tick of the 10 Hz clock."""


def layout_for(size: Size) -> str:
    """Returns the largest layout that fits."""
    return next(name for name, width, height in SIZES if size.width >= width and size.height >= height)


class LiveScreen(Screen[None]):
    """Figures, charts, the engine and its load."""

    CSS_PATH = "live.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "restore", "All tiles", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self._tiles: list[Tile] = []
        self._maximised = ""

    def compose(self) -> ComposeResult:
        yield Tile(header.header, id="header", follows_view=True)
        yield Tile(replay.timeline, id="replay", classes="notice")
        yield Tile(status.alarm, id="alarm", classes="notice")
        yield Tile(status.banner, id="banner", classes="notice")
        yield Tile(status.progress, id="progress", classes="notice")
        with Container(id="body"):
            with Container(id="left"):
                yield Tile(engine.engine, id="engine", classes="panel", every=SLOW, turn=0)
                yield Tile(matrix.matrix, id="matrix", classes="panel", every=SLOW, turn=0)
                yield Tile(load.load, id="load", classes="panel", every=SLOW, turn=0)
            with Container(id="charts"):
                yield ChartTile(Chart("throughput texts/s", THROUGHPUT, labels=True), id="throughput", classes="panel")
                yield ChartTile(Chart("latency ms", LATENCY, log=True), id="latency", classes="panel")
                yield ChartTile(Chart("batch fill and queue", QUEUE), id="queue", classes="panel")
            with Container(id="right"):
                yield Tile(now.now, id="now", classes="panel")
                yield Tile(switches.switches, id="switch", classes="panel", every=SLOW, turn=2)
                yield Tile(stages.stages, id="stages", classes="panel", every=SLOW, turn=2)
                yield Tile(host.host, id="host", classes="panel", every=SLOW, turn=2)
        yield Tile(events.events, id="events", classes="panel", every=SLOW, turn=4)
        yield Tile(switches.bottom_line, id="bottom", every=SLOW, turn=4, follows_view=True)
        yield Tile(keybar.keybar, id="keybar", every=SLOW, turn=1, follows_view=True)

    def on_resize(self, event: Resize) -> None:
        chosen = layout_for(event.size)
        for name, _, _ in SIZES:
            self.set_class(name == chosen, name)

    def show(self, frame: Frame, view: View, tick: int) -> None:
        """Draws the frame. A notice has as many rows as it has lines."""
        if not self._tiles:
            self._tiles = list(self.query(Tile))
        if view.maximised != self._maximised:
            self._maximise(view.maximised)
        for tile in self._tiles:
            if tile.has_class("notice"):
                tile.fit_height(frame, view, Size(self.size.width, 1))
            tile.show(frame, view, tick)

    def _maximise(self, name: str) -> None:
        """Shows only the tile of that name with header, notices and key bar; all tiles if the name is empty."""
        self._maximised = name
        for tile in self.query(".panel"):
            tile.set_class(tile.id == name, "maximised")
            tile.set_class(bool(name) and tile.id != name, "hidden")
        for container in self.query(Container):
            contains = bool(name) and bool(container.query(f"#{name}"))
            container.set_class(contains, "contains-maximised")
            container.set_class(bool(name) and not contains, "hidden")
        self.query_one("#bottom").set_class(bool(name), "hidden")

    def action_restore(self) -> None:
        """Shows all tiles again. If none is maximised, the key is left to other bindings."""
        app = cast("AppPort", self.app)
        if not app.view.maximised:
            raise SkipAction
        app.update_view(maximised="")

    def export_rows(self) -> list[dict[str, Any]]:
        """One row for each recorded interval."""
        return [asdict(point) for point in cast("AppPort", self.app).frame.points]
