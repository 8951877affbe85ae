"""The weights of a replaced deployment are freed, unless a thread that hangs still uses them."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.deployment.live import LiveDeployment
from engine.scheduling.contract import SchedulerStats


class Model:
    """A loaded model that notes whether it was closed."""

    evidence = ""
    packs = False
    closed = False

    def close(self) -> None:
        self.closed = True


def live(model: Model, hung: int) -> LiveDeployment:
    async def close() -> None:
        """Nothing runs."""

    stats = SchedulerStats(0, 0, 0, 0, 0.0, abandoned_threads=hung)
    scheduler: Any = SimpleNamespace(name="onnx-fp32", close=close, stats=lambda: stats)
    artifact: Any = SimpleNamespace(
        path=Path("/none"), reference=SimpleNamespace(token_ids=[[1]]), size_bytes=lambda: 90 << 20
    )
    anything: Any = SimpleNamespace()
    return LiveDeployment(anything, anything, anything, anything, model, artifact, scheduler, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("hung", [0, 2])
async def test_weights_that_a_hung_thread_uses_are_kept_and_reported(
    hung: int, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model()
    with caplog.at_level(logging.WARNING):
        await live(model, hung).release()
    assert model.closed is (hung == 0)
    assert ("90 MB" in caplog.text) is (hung > 0)
