"""Engines for the promises: each test has its own, because it breaks it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.promises.doors import DOORS
from tests.promises.faulty_engine import FaultyEngine
from tests.support.engine_process import EngineProcess

StartEngine = Callable[..., FaultyEngine]
StartProcess = Callable[..., EngineProcess]


@pytest.fixture(params=list(DOORS))
def door(request: pytest.FixtureRequest) -> str:
    """The protocol through which the engine is asked."""
    return str(request.param)


@pytest.fixture
def start_engine(artifact_cache: object, door: str, tmp_path: Path) -> Iterator[StartEngine]:
    """Starts engines with options in addition to those of FaultyEngine; ends them after the test."""
    started: list[FaultyEngine] = []

    def start(*flags: str) -> FaultyEngine:
        engine = FaultyEngine(door, tmp_path, *flags)
        started.append(engine)
        return engine

    yield start
    for engine in started:
        if engine.process.process.poll() is None:
            engine.process.process.kill()
        engine.process.stop()


@pytest.fixture
def start_process(artifact_cache: object) -> Iterator[StartProcess]:
    """Starts engines with the arguments of EngineProcess, for promises that no door changes; ends them afterwards."""
    started: list[EngineProcess] = []

    def start(*flags: str, **more: Any) -> EngineProcess:
        started.append(EngineProcess(*flags, **more))
        return started[-1]

    yield start
    for process in started:
        process.stop()
