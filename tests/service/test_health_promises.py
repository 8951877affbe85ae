"""Health says SERVING exactly while requests can be answered; an engine that is told to end cleans up, even early."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from engine.api import embed_pb2
from engine.deployment.switch import Deployments
from engine.scheduling import instance
from engine.scheduling.health import FAILED_BATCHES
from engine.server import process
from tests.service.in_process import InProcess, Wire, running


@pytest_asyncio.fixture
async def wire(artifact_cache: object, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    """A client of an engine that is ready."""
    async with running(monkeypatch) as (engine, client, _):
        await ready(engine)
        yield client


async def ready(engine: InProcess) -> None:
    await asyncio.wait_for(engine.ready.wait(), 120)


def every_pass_fails(_: object, count: int) -> None:
    raise RuntimeError(f"the device is gone, and with it {count} texts")


async def break_it(wire: Wire, patched: pytest.MonkeyPatch) -> None:
    patched.setattr(instance, "_validated", every_pass_fails)
    for _ in range(FAILED_BATCHES):
        assert await wire.embed() is grpc.StatusCode.INTERNAL


async def test_health_follows_the_device_and_requests_run_all_the_same(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wire.becomes("SERVING")
    with monkeypatch.context() as patched:
        patched.setattr(instance, "_validated", every_pass_fails)
        assert await wire.embed() is grpc.StatusCode.INTERNAL
        await wire.becomes("SERVING")
        await break_it(wire, patched)
        await wire.becomes("NOT_SERVING")
    assert await wire.embed() is grpc.StatusCode.OK
    await wire.becomes("SERVING")


async def test_a_switch_to_a_good_deployment_makes_health_good_again(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        await break_it(wire, patched)
        await wire.becomes("NOT_SERVING")
    target = embed_pb2.Deployment(backend="onnx", precision="fp32", instances=2, threads=1)
    async for _ in wire.control.Switch(embed_pb2.SwitchRequest(target=target), timeout=60):
        pass
    await wire.becomes("SERVING")


async def test_health_stays_bad_without_an_instance_until_a_switch(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise SystemExit

    def no_more_threads(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(instance, "_validated", lost)
        patched.setattr(instance.Instance, "start", no_more_threads)
        assert await wire.embed() is grpc.StatusCode.UNAVAILABLE
    await wire.becomes("NOT_SERVING")
    assert await wire.embed() is grpc.StatusCode.UNAVAILABLE
    await wire.becomes("NOT_SERVING")
    target = embed_pb2.Deployment(backend="onnx", precision="fp32", instances=2, threads=1)
    async for _ in wire.control.Switch(embed_pb2.SwitchRequest(target=target), timeout=60):
        pass
    await wire.becomes("SERVING")
    assert await wire.embed() is grpc.StatusCode.OK


async def test_a_draining_engine_stays_not_serving_whatever_its_batches_say(
    artifact_cache: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    let = threading.Event()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    real = instance._validated

    def held(*args: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        let.wait(20)
        return real(*args)

    async with running(monkeypatch) as (engine, wire, life):
        await ready(engine)
        with monkeypatch.context() as patched:
            await break_it(wire, patched)
            await wire.becomes("NOT_SERVING")
        with monkeypatch.context() as patched:
            patched.setattr(instance, "_validated", held)
            last = asyncio.create_task(wire.embed())
            await begun.wait()
            engine.stop()
            async for frame in wire.control.Watch(embed_pb2.WatchRequest(interval_ms=50), timeout=10):
                if frame.state == embed_pb2.DRAINING_TO_EXIT:
                    break
            before = await wire.health()
            scheduler = engine._deployments.live.scheduler
            let.set()
            assert await last is grpc.StatusCode.OK
        assert scheduler.health.problem is None, "the last forward pass worked"
        assert before == {"NOT_SERVING"}
        assert engine.statuses == {"NOT_SERVING"}
        await life


async def test_an_engine_told_to_end_before_it_has_a_deployment_cleans_up_too(
    artifact_cache: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        loading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Deployments, "start", never)
    async with running(monkeypatch) as (engine, _, life):
        await asyncio.wait_for(loading.wait(), 20)
        engine.stop()
        await asyncio.wait_for(life, 20)
        assert "drained 0 requests" in engine.said
        assert engine.said.rstrip().endswith('"message": "ended"}')


async def test_an_engine_told_to_end_before_its_ready_line_answers_what_it_has_and_frees_everything(
    artifact_cache: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembering, let = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(*_: object) -> None:
        loop.call_soon_threadsafe(remembering.set)
        let.wait(20)

    before = set(threading.enumerate())
    monkeypatch.setattr(process, "record_load_cosine", slow)
    async with running(monkeypatch) as (engine, wire, life):
        await asyncio.wait_for(remembering.wait(), 60)
        assert await wire.embed() is grpc.StatusCode.OK
        assert not engine.ready.is_set()
        engine.stop()
        await asyncio.wait_for(life, 20)
        let.set()
        assert not engine.ready.is_set()
        assert not engine.holds_a_deployment
        assert await wire.embed() is grpc.StatusCode.UNAVAILABLE
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in left if name.startswith("onnx")]
