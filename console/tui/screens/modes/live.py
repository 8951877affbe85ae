"""The Live screen: one grid for every size; CSS classes by size decide what is shown and where."""

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
"""Layouts with the least width and height each one needs, the roomiest first."""
SLOW = 5
"""Tables are drawn on each fifth tick of the 10 Hz clock."""


def layout_for(size: Size) -> str:
    """The roomiest layout that fits."""
    return next(name for name, width, height in SIZES if size.width >= width and size.height >= height)


class LiveScreen(Screen[None]):
    """Figures, charts, the engine and its load."""

    CSS_PATH = "live.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "restore", "All tiles", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self._tiles: list[Tile] = []
        self._big = ""

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
        """Draws the frame; notices take as many lines as they have to say."""
        if not self._tiles:
            self._tiles = list(self.query(Tile))
        if view.big != self._big:
            self._maximise(view.big)
        for tile in self._tiles:
            if tile.has_class("notice"):
                tile.show_rows(frame, view, Size(self.size.width, 1))
            tile.show(frame, view, tick)

    def _maximise(self, name: str) -> None:
        """The tile of that name has the screen to itself, but for header, notices and key bar; empty: all of them."""
        self._big = name
        for tile in self.query(".panel"):
            tile.set_class(tile.id == name, "big")
            tile.set_class(bool(name) and tile.id != name, "elsewhere")
        for place in self.query(Container):
            holds = bool(name) and bool(place.query(f"#{name}"))
            place.set_class(holds, "holds")
            place.set_class(bool(name) and not holds, "elsewhere")
        self.query_one("#bottom").set_class(bool(name), "elsewhere")

    def action_restore(self) -> None:
        """All tiles again. Where all of them are shown, the key is free for what else it means."""
        app = cast("AppPort", self.app)
        if not app.view.big:
            raise SkipAction
        app.look(big="")

    def exported(self) -> list[dict[str, Any]]:
        """The seconds on the charts, as far as they are kept."""
        return [asdict(point) for point in cast("AppPort", self.app).frame.points]
