"""Engines as people and supervisors start them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.engine_process import EngineProcess


@pytest.fixture
def start_engine(artifact_cache: object) -> Iterator[Callable[..., EngineProcess]]:
    """Starts engines, which are stopped after the test."""
    started: list[EngineProcess] = []

    def start(*flags: str, **more: Any) -> EngineProcess:
        started.append(EngineProcess(*flags, **more))
        return started[-1]

    yield start
    for engine in started:
        engine.stop()
