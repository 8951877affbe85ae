"""What the console's tests share: an app on a made-up session, with a clock that the test beats itself."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot

from console.model.frame import Frame
from console.tui.app import ConsoleApp
from tests.console.fakes.experiments import FakeExperiments
from tests.console.fakes.session import FakeSession


class Console:
    """An open console: its pilot, its app and its session."""

    def __init__(self, pilot: Pilot[int], app: ConsoleApp, session: FakeSession) -> None:
        self.pilot = pilot
        self.app = app
        self.session = session
        self.now_s = 0.0
        """The person's clock: what replays run on."""

    async def later(self, seconds: float) -> None:
        """So much later on the person's clock."""
        self.now_s += seconds
        await self.beat()

    async def beat(self, times: int = 6) -> None:
        """Beats the console's clock, so that every tile has had its turn."""
        for turns in (1, times - 1, 1) if times > 1 else (1,):
            for _ in range(turns):
                self.app.tick()
            await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Presses keys one after another, and beats."""
        for key in keys:
            await self.pilot.press(key)
            await self.pilot.pause()
        await self.beat()

    def text(self, tile: str = "") -> str:
        """What a tile says, or all that the screen on top says."""
        from console.tui.widgets.tile import Tile

        tiles = [tile for tile in self.app.screen.query(Tile) if tile.display]
        return "\n".join(each.text for each in tiles if not tile or each.id == tile)

    @property
    def said(self) -> str:
        """The newest message in the corner."""
        messages = list(self.app._notifications)
        return messages[-1].message if messages else ""


Open = Callable[..., AbstractAsyncContextManager[Console]]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def console() -> Open:
    """Opens a console on a scene: `async with console(scenes.busy(), (80, 24)) as it`."""

    @asynccontextmanager
    async def opened(
        frame: Frame, size: tuple[int, int] = (200, 50), experiments: FakeExperiments | None = None, **more: Any
    ) -> AsyncIterator[Console]:
        consoles: list[Console] = []
        session, port = FakeSession(frame), experiments or FakeExperiments()
        app = ConsoleApp(
            lambda: session,
            start=False,
            clock_s=0,
            clock=lambda: consoles[0].now_s,
            make_experiments=lambda _session: port,
            **more,
        )
        app.animation_level = "none"
        async with app.run_test(size=size) as pilot:
            it = Console(pilot, app, session)
            consoles.append(it)
            await pilot.pause()
            await it.beat()
            yield it

    return opened
