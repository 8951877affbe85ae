"""Rows 10, 13 and 14: health reports whether a known text gets a vector, not what one caller's texts do."""

from tests.promises.conftest import StartEngine
from tests.promises.doors import OK

MANY_WORDS = "word " * 100
"""Longer than the known text, so that a fault can be limited to it by size."""
MIN_TOKENS = 90


async def test_poison_texts_of_one_caller_alone_leave_the_engine_serving(start_engine: StartEngine) -> None:
    engine = await start_engine().ready()
    async with engine.door() as door:
        engine.inject(kind="raise", min_tokens=MIN_TOKENS)
        assert {(await door.embed([MANY_WORDS])).code for _ in range(20)} == {"INTERNAL"}
        assert await engine.health() == "SERVING"
        assert (await door.embed(["a text"])).code == OK
    assert (await engine.frame()).counters.batches == 21, "a probe is no one's request"


async def test_a_device_that_fails_every_pass_is_not_serving_until_one_succeeds(start_engine: StartEngine) -> None:
    engine = await start_engine().ready()
    async with engine.door() as door:
        engine.inject(kind="raise")
        assert {(await door.embed(["a text"])).code for _ in range(6)} == {"INTERNAL"}
        await engine.becomes("NOT_SERVING")
        engine.inject()
        await engine.becomes("SERVING")


async def test_an_engine_that_breaks_without_traffic_is_not_serving(start_engine: StartEngine) -> None:
    engine = await start_engine("--probe-idle-s", "1").ready()
    assert await engine.health() == "SERVING"
    engine.inject(kind="nan")
    await engine.becomes("NOT_SERVING")
    engine.inject()
    await engine.becomes("SERVING")
