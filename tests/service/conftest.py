"""One engine for the tests that do not change it, and fresh ones for those that do."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from engine.api.client import EmbedClient
from tests.service.load_rig import Rig
from tests.support.engine_process import EngineProcess
from tests.support.fake_engine import FakeEngine, start_server


@pytest.fixture(scope="session")
def shared_engine(artifact_cache: object) -> Iterator[EngineProcess]:
    """An engine with onnx fp32 on the bundled model. Tests do not change its state."""
    engine = EngineProcess("--backend", "onnx", "--precision", "fp32", "--instances", "2", "--threads", "1")
    try:
        yield engine.wait_ready()
    finally:
        engine.stop()


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    """A fake engine to load."""
    engine = FakeEngine()
    server, address = await start_server(engine)
    yield Rig(engine, address)
    await server.stop(0)


@pytest_asyncio.fixture
async def client(shared_engine: EngineProcess) -> AsyncIterator[EmbedClient]:
    """A client of the shared engine."""
    async with EmbedClient(shared_engine.address) as connected:
        yield connected


@pytest.fixture
def start_engine(artifact_cache: object) -> Iterator[Callable[..., EngineProcess]]:
    """Starts engines, which are stopped after the test."""
    started: list[EngineProcess] = []

    def start(*flags: str, **more: Any) -> EngineProcess:
        engine = EngineProcess(*flags, **more)
        started.append(engine)
        return engine

    yield start
    for engine in started:
        engine.stop()
