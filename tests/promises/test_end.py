"""Row 18: an engine that is told to end answers what it has accepted, or says why not; its exit code says which."""

import asyncio
import os
import signal
from collections import Counter

from tests.promises.conftest import StartEngine
from tests.promises.doors import OK, Answer
from tests.promises.faulty_engine import FaultyEngine

CALLERS = 8
LONG = ["word " * 200] * 30
"""A request that takes one thread about a second."""


async def call_until_refused(engine: FaultyEngine) -> list[Answer]:
    """Sends requests one after another, also while the engine drains, until it can no longer be reached."""
    answers = [Answer(OK)]
    async with engine.door() as door:
        while answers[-1].code == OK or "drain" in answers[-1].message:
            answers.append(await door.embed(["some words"] * 4))
    return answers


async def test_under_load_every_caller_gets_an_answer_or_unavailable_and_the_exit_code_is_0(
    start_engine: StartEngine,
) -> None:
    for _ in range(3):
        engine = await start_engine().ready()
        callers = [asyncio.create_task(call_until_refused(engine)) for _ in range(CALLERS)]
        await engine.in_flight(CALLERS // 2)
        os.kill(engine.process.process.pid, signal.SIGTERM)
        answers = [answer for caller in callers for answer in await caller]
        assert set(Counter(answer.code for answer in answers)) == {OK, "UNAVAILABLE"}
        assert [answer for answer in answers if "drain" in answer.message], "they learn the reason"
        assert await engine.exit_code() == 0


async def test_a_queue_longer_than_the_grace_is_unavailable_with_the_reason_and_the_exit_code_is_1(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine("--grace-s", "2", "--max-pass-s", "600").ready()
    async with engine.door() as door:
        requests = [asyncio.create_task(door.embed(LONG)) for _ in range(CALLERS)]
        await engine.in_flight(CALLERS)
        os.kill(engine.process.process.pid, signal.SIGTERM)
        answers = await asyncio.gather(*requests)
    lost = [answer for answer in answers if answer.code != OK]
    assert lost
    assert {answer.code for answer in lost} == {"UNAVAILABLE"}
    assert all("ended before" in answer.message for answer in lost)
    assert await engine.exit_code() == 1


async def test_a_second_signal_ends_it_at_once_with_exit_code_1(start_engine: StartEngine) -> None:
    engine = await start_engine("--max-pass-s", "600").ready()
    engine.inject(kind="hang")
    async with engine.door() as door:
        hung = asyncio.create_task(door.embed(["a text"]))
        await engine.in_flight(1)
        os.kill(engine.process.process.pid, signal.SIGTERM)
        while not engine.logged("draining for at most"):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
        os.kill(engine.process.process.pid, signal.SIGTERM)
        assert await engine.exit_code() == 1
        assert (await hung).code == "UNAVAILABLE"


async def test_an_engine_that_is_told_to_end_while_it_starts_ends_with_exit_code_0(start_engine: StartEngine) -> None:
    engine = start_engine()
    while not engine.logged("'name': 'loading'"):  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.01)
    os.kill(engine.process.process.pid, signal.SIGTERM)
    assert await engine.exit_code() == 0
