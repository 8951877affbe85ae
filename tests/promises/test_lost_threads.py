"""Row 13: an instance whose thread ends is replaced, and health follows if that happens with every pass."""

from tests.promises.conftest import StartEngine
from tests.promises.doors import OK

PASSES = 8


async def test_callers_of_a_lost_thread_get_unavailable_and_the_next_ones_an_answer(start_engine: StartEngine) -> None:
    engine = await start_engine().ready()
    async with engine.door() as door:
        engine.inject(kind="kill_thread", times=1)
        answer = await door.embed(["a text"])
        assert answer.code == "UNAVAILABLE"
        assert "again" in answer.message
        assert [(await door.embed(["a text"])).code for _ in range(PASSES)] == [OK] * PASSES
    assert (await engine.frame()).counters.lost_instances == 1
    assert await engine.health() == "SERVING"


async def test_health_flips_when_every_pass_ends_its_thread_and_back_when_one_succeeds(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine().ready()
    async with engine.door() as door:
        engine.inject(kind="kill_thread")
        assert {(await door.embed(["a text"])).code for _ in range(PASSES)} == {"UNAVAILABLE"}
        await engine.becomes("NOT_SERVING")
        engine.inject()
        await engine.becomes("SERVING")  # without a caller: by a probe
        assert (await door.embed(["a text"])).code == OK
