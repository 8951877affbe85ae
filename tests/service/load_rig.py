"""A load on a fake engine, with the events that it emits."""

import asyncio
from collections.abc import Callable

from console.load.attempts import make_plan
from console.load.corpora import MAX_TEXT_BYTES
from console.load.driver import Driver
from console.load.protocol import Event, Interval, Stopped
from console.model.load import LoadSpec
from tests.support.fake_engine import FakeEngine
from tests.support.patience import HANGS_AFTER_S


class Events:
    """The events of a load, and a way to wait for them."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self._news = asyncio.Event()

    def emit(self, event: Event) -> None:
        self.all.append(event)
        self._news.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(HANGS_AFTER_S):
            while not true():
                self._news.clear()
                await self._news.wait()

    @property
    def intervals(self) -> list[Interval]:
        return [event for event in self.all if isinstance(event, Interval)]

    @property
    def stopped(self) -> Stopped:
        return next(event for event in self.all if isinstance(event, Stopped))

    def total(self, figure: Callable[[Interval], int]) -> int:
        return sum(figure(interval) for interval in self.intervals)


async def loaded(address: str, spec: LoadSpec, events: Events) -> Driver:
    """Returns the driver of a started load."""
    driver = Driver(address, await make_plan(spec, MAX_TEXT_BYTES), events.emit)
    driver.start()
    return driver


class Rig:
    """A fake engine and the address it serves at."""

    def __init__(self, engine: FakeEngine, address: str) -> None:
        self.engine = engine
        self.address = address
        self.events = Events()

    async def load(self, spec: LoadSpec) -> Driver:
        return await loaded(self.address, spec, self.events)

    async def answered(self, more: int) -> None:
        """Returns when the engine has been called `more` times from now."""
        wanted = self.engine.calls + more
        await self.events.until(lambda: self.engine.calls >= wanted)
