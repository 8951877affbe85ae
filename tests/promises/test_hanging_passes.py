"""Row 14: a forward pass that hangs is detected within its bound, and the engine serves again or ends."""

import asyncio
import os
import signal
import time
from pathlib import Path

from tests.promises.conftest import StartEngine
from tests.promises.doors import OK, Answer, Door
from tests.promises.faulty_engine import MAX_PASS_S
from tests.support.patience import HANGS_AFTER_S
from tests.support.tiny_models import build_tiny_cls_model


async def test_callers_of_a_pass_that_hangs_get_unavailable_and_the_instance_is_replaced(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine().ready()
    async with engine.door() as door:
        engine.inject(kind="hang", times=1)
        answer = await door.embed(["a text"])
        assert answer.code == "UNAVAILABLE"
        assert "hung" in answer.message
        assert "again" in answer.message
        assert (await door.embed(["a text"])).code == OK
    frame = await engine.frame()
    assert (frame.counters.hung_instances, frame.abandoned_threads) == (1, 1)
    assert engine.logged("keeps its memory")


async def test_health_is_not_serving_while_every_pass_hangs_and_serving_after_a_real_pass(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine().ready()
    assert await engine.health() == "SERVING"
    engine.inject(kind="hang", times=2)  # that of the caller, and the probe of the replacement
    async with engine.door() as door:
        started_s = time.monotonic()
        hung = asyncio.create_task(door.embed(["a text"]))
        await engine.becomes("NOT_SERVING")
        assert time.monotonic() - started_s < MAX_PASS_S + HANGS_AFTER_S / 4, "bounded, with room for a busy machine"
        assert (await hung).code == "UNAVAILABLE"
        await engine.becomes("SERVING")  # without a caller: by probes
        assert (await door.embed(["a text"])).code == OK


async def test_other_instances_answer_while_one_hangs(start_engine: StartEngine) -> None:
    engine = await start_engine("--instances", "2", "--max-pass-s", "600").ready()
    async with engine.door() as door:
        engine.inject(kind="hang", times=1)
        hung = asyncio.create_task(door.embed(["a text"]))
        while not engine.logged("injecting the fault hang"):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
        assert [(await door.embed(["a text"])).code for _ in range(5)] == [OK] * 5
        assert await engine.health() == "SERVING"
        hung.cancel()


async def test_an_event_loop_that_hangs_in_an_inline_pass_ends_the_process_with_exit_code_6(
    start_engine: StartEngine, tmp_path: Path
) -> None:
    tiny = build_tiny_cls_model(tmp_path / "model")  # short passes, which the event loop runs inline
    engine = await start_engine("--model", str(tiny)).ready()
    engine.inject(kind="hang", where="inline")
    async with engine.door() as door:
        answer = Answer(OK)
        while answer.code == OK:
            answer = await door.embed(["a text"])
    assert answer.code == "UNAVAILABLE"
    assert await engine.exit_code() == 6
    assert engine.logged("event loop")[-1]["code"] == "watchdog"


async def signalled(start_engine: StartEngine, *flags: str) -> tuple[int, Answer, float]:
    """Sends SIGTERM while a pass hangs. Returns the exit code, the answer, and the seconds to the end."""
    engine = await start_engine(*flags).ready()
    engine.inject(kind="hang")
    async with engine.door() as door:
        hung = asyncio.create_task(door.embed(["a text"]))
        while not engine.logged("injecting the fault hang"):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
        started_s = time.monotonic()
        os.kill(engine.process.process.pid, signal.SIGTERM)
        code = await engine.exit_code()
        return code, await hung, time.monotonic() - started_s


async def test_sigterm_ends_an_engine_within_its_grace_though_a_pass_hangs(start_engine: StartEngine) -> None:
    grace_s = 4.0
    code, answer, took_s = await signalled(start_engine, "--max-pass-s", "600", "--grace-s", str(grace_s))
    assert code == 1, "a request was lost"
    assert answer.code == "UNAVAILABLE"
    assert "another engine" in answer.message
    assert took_s < grace_s + HANGS_AFTER_S / 10, "with room for a busy machine"


async def test_a_pass_that_hangs_while_the_engine_drains_does_not_use_up_the_grace(start_engine: StartEngine) -> None:
    code, answer, took_s = await signalled(start_engine, "--grace-s", "3600")
    assert code == 1, "a request was lost"
    assert answer.code == "UNAVAILABLE"
    assert took_s < HANGS_AFTER_S


async def flood(door: Door, seconds: float) -> set[str]:
    """Sends requests one after another; returns the codes."""
    codes = set()
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        codes.add((await door.embed(["a text"])).code)
    return codes


async def test_a_suspended_engine_has_not_hung(start_engine: StartEngine) -> None:
    engine = await start_engine().ready()
    pid = engine.process.process.pid
    async with engine.door() as door:
        flooding = asyncio.create_task(flood(door, 2.0))
        await engine.in_flight(1)
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(2 * MAX_PASS_S)
        os.kill(pid, signal.SIGCONT)
        assert await flooding == {OK}
    assert (await engine.frame()).counters.hung_instances == 0
