"""A cancelled load: the model is closed once, after its last use, and no other model is loaded before that."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine.artifacts.reference_vectors import ReferenceVectors
from engine.artifacts.store import Artifact, ArtifactStore
from engine.backends.base import Cell
from engine.deployment.switch import Deployments
from engine.deployment.target import SwitchState, SwitchStep, Target
from engine.errors import CannotSwitch, Unavailable
from engine.host.machine import PlatformFacts
from engine.pipeline.metrics import Telemetry
from engine.scheduling import TokenIds, Vectors

FACTS = PlatformFacts("linux-x86_64", "linux", "x86_64", packages={"torch": "2", "onnxruntime": "1"}, cores=2)
REFERENCE = ReferenceVectors([[1, 2], [3]], np.eye(2, 3, dtype=np.float32))
LIMIT_S = 20
"""Far more than anything here takes; what hangs fails."""


class Gate:
    """A point at which a thread waits until the test opens it."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def stop(self) -> None:
        """In the thread."""
        self.reached.set()
        assert self.opened.wait(LIMIT_S)

    async def is_reached(self) -> None:
        """In the event loop."""
        assert await asyncio.to_thread(self.reached.wait, LIMIT_S)


class Model:
    """A model that returns the reference vectors or their opposites, and records whether it is closed while in use."""

    dim, evidence, packs, computes_in_caller = 3, "2 of 2", False, True

    def __init__(self, runtime: "Runtime") -> None:
        self.precision = "fp32"
        self.closed = threading.Event()
        self._runtime = runtime
        self._in_use = threading.Lock()

    def executor(self, threads: int) -> "Model":
        return self

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        with self._in_use:
            if self._runtime.in_pass is not None:
                self._runtime.in_pass.stop()
            return Vectors(self._runtime.sign * REFERENCE.vectors[: len(texts)], np.ones(len(texts), np.float32))

    def close(self) -> None:
        self._runtime.events.append("closed in use" if self._in_use.locked() else "closed")
        self.closed.set()


class Runtime:
    """A backend whose loading and whose passes can be stopped at a gate."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.models: list[Model] = []
        self.in_load: Gate | None = None
        self.in_pass: Gate | None = None
        self.sign = 1

    def load(self, artifact: Path, model_dir: Path, cell: Cell, threads: int) -> Model:
        self.events.append("load")
        if self.in_load is not None:
            self.in_load.stop()
        self.models.append(Model(self))
        return self.models[-1]


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Replaces every backend; its artifact needs no preparation."""

    async def prepare(*_: object) -> Artifact:
        return Artifact(tmp_path, REFERENCE)

    found = Runtime()
    monkeypatch.setenv("EMBEDCONSOLE_CACHE", str(tmp_path))
    monkeypatch.setattr("engine.deployment.load.prepare", prepare)
    monkeypatch.setattr("engine.deployment.load.resolve_model", lambda _: files(tmp_path))
    monkeypatch.setattr("engine.deployment.load.backend", lambda _: found)
    monkeypatch.setattr("engine.deployment.load.Tokenizer", SimpleNamespace(load=lambda *_: None))
    return found


def files(folder: Path) -> Any:
    """The part of a model's files that loading reads."""
    return SimpleNamespace(path=folder, card=SimpleNamespace(id="some/model"))


@pytest.fixture
async def deployments(runtime: Runtime, tmp_path: Path) -> AsyncIterator[Deployments]:
    """An owner with one live deployment, of the first model."""
    async with asyncio.timeout(LIMIT_S):
        found = Deployments(FACTS, ArtifactStore(tmp_path), Telemetry())
        await found.start(Target("onnx"), strict=True, on_step=lambda _: None)
        runtime.events.clear()
        yield found
        await found.close()


async def switch(
    deployments: Deployments, backend: str, reached: Callable[[SwitchStep], None] = lambda _: None
) -> None:
    """Switches to another backend and reads all events; a cancellation closes the stream, as a client does."""
    async with aclosing(deployments.switch(Target(backend), strict=True)) as steps:
        async for step in steps:
            reached(step)


async def cancelled_in(gate: Gate, deployments: Deployments) -> None:
    """Cancels a switch while a thread waits at the gate. Returns when the switch has ended, before the thread ends."""
    asked = asyncio.create_task(switch(deployments, "torch"))
    await gate.is_reached()
    asked.cancel()
    async with asyncio.timeout(LIMIT_S):
        await asyncio.wait((asked,))
    assert asked.cancelled()
    assert deployments.running_switch is None


async def closed(model: Model) -> None:
    assert await asyncio.to_thread(model.closed.wait, LIMIT_S), "it was never closed"


async def test_a_model_that_arrives_after_its_switch_was_cancelled_is_closed_once(
    runtime: Runtime, deployments: Deployments
) -> None:
    gate = runtime.in_load = Gate()
    await cancelled_in(gate, deployments)
    assert runtime.events == ["load"]
    gate.opened.set()
    await switch(deployments, "torch")
    assert runtime.events[:3] == ["load", "closed", "load"], "the next switch loads when the abandoned model is gone"
    assert runtime.models[1].closed.is_set()
    assert runtime.events.count("closed") == 2, "and the deployment that was replaced"


async def test_a_switch_reports_that_it_waits_for_a_cancelled_load(runtime: Runtime, deployments: Deployments) -> None:
    gate = runtime.in_load = Gate()
    await cancelled_in(gate, deployments)
    messages: list[str] = []

    def reached(step: SwitchStep) -> None:
        messages.append(step.message)
        if "cancelled" in step.message:
            assert step.state is SwitchState.LOADING
            gate.opened.set()

    await switch(deployments, "torch", reached)
    assert sum("cancelled" in message for message in messages) == 1
    assert deployments.live.plan.effective.backend == "torch"


async def test_a_switch_that_waits_for_a_cancelled_load_can_be_cancelled_too(
    runtime: Runtime, deployments: Deployments
) -> None:
    gate = runtime.in_load = Gate()
    await cancelled_in(gate, deployments)
    waits = asyncio.Event()
    asked = asyncio.create_task(
        switch(deployments, "torch", lambda step: waits.set() if "cancelled" in step.message else None)
    )
    async with asyncio.timeout(LIMIT_S):
        await waits.wait()
    asked.cancel()
    await asyncio.wait((asked,))
    assert deployments.running_switch is None
    assert runtime.events == ["load"]
    gate.opened.set()
    await closed_after(runtime, 2)
    assert runtime.events == ["load", "closed"]


async def closed_after(runtime: Runtime, models: int) -> None:
    """Returns when the abandoned load has ended."""
    async with asyncio.timeout(LIMIT_S):
        while len(runtime.models) < models:
            await asyncio.to_thread(lambda: None)
    await closed(runtime.models[-1])


async def test_a_model_is_not_closed_while_a_pass_that_verifies_it_runs(
    runtime: Runtime, deployments: Deployments
) -> None:
    gate = runtime.in_pass = Gate()
    await cancelled_in(gate, deployments)
    assert runtime.events == ["load"]
    runtime.in_pass = None
    gate.opened.set()
    await closed(runtime.models[1])
    assert runtime.events == ["load", "closed"]


async def test_a_start_that_is_cancelled_ends_at_once_and_closes_its_model(runtime: Runtime, tmp_path: Path) -> None:
    gate = runtime.in_load = Gate()
    deployments = Deployments(FACTS, ArtifactStore(tmp_path), Telemetry())
    starting = asyncio.create_task(deployments.start(Target("onnx"), strict=True, on_step=lambda _: None))
    await gate.is_reached()
    starting.cancel()
    async with asyncio.timeout(LIMIT_S):
        await asyncio.wait((starting,))
    gate.opened.set()
    await closed_after(runtime, 1)
    assert runtime.events == ["load", "closed"]


async def test_a_model_that_fails_its_verification_is_closed_before_the_error_is_raised(
    runtime: Runtime, deployments: Deployments
) -> None:
    runtime.sign = -1
    with pytest.raises(CannotSwitch, match="differ too much from fp32"):
        await switch(deployments, "torch")
    assert runtime.events == ["load", "closed"]


async def test_closing_cancels_a_switch_and_closes_both_models(runtime: Runtime, deployments: Deployments) -> None:
    gate = runtime.in_load = Gate()
    asked = asyncio.create_task(switch(deployments, "torch"))
    await gate.is_reached()
    async with asyncio.timeout(LIMIT_S):
        await deployments.close()
    gate.opened.set()
    with pytest.raises(Unavailable, match="the engine is shutting down"):
        await asked
    await closed_after(runtime, 2)
    assert runtime.events == ["load", "closed", "closed"]
    with pytest.raises(Unavailable, match="another engine"):
        _ = deployments.live


async def test_closing_waits_for_a_deployment_that_still_drains(runtime: Runtime, deployments: Deployments) -> None:
    old_was_closed: list[bool] = []
    with deployments.live.bound():
        drains = asyncio.Event()
        asked = asyncio.create_task(
            switch(deployments, "torch", lambda step: drains.set() if step.state is SwitchState.DRAINING else None)
        )
        async with asyncio.timeout(LIMIT_S):
            await drains.wait()
        closing = asyncio.create_task(deployments.close())
        closing.add_done_callback(lambda _: old_was_closed.append(runtime.models[0].closed.is_set()))
        await closed(runtime.models[1])
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(closing, asked)
    assert old_was_closed == [True]
    assert runtime.events == ["load", "closed", "closed"]


async def test_a_start_that_is_cancelled_during_the_download_ends_at_once(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    daemons: list[bool] = []

    def download(_: object) -> Any:
        daemons.append(threading.current_thread().daemon)
        gate.stop()
        return files(tmp_path)

    monkeypatch.setattr("engine.deployment.load.resolve_model", download)
    deployments = Deployments(FACTS, ArtifactStore(tmp_path), Telemetry())
    starting = asyncio.create_task(deployments.start(Target("onnx"), strict=True, on_step=lambda _: None))
    await gate.is_reached()
    starting.cancel()
    async with asyncio.timeout(LIMIT_S):
        await asyncio.wait((starting,))
    assert daemons == [True], "its thread does not hold up the end of the process"
    gate.opened.set()
