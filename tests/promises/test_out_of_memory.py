"""Row 12: when memory runs out in a forward pass, batches shrink and the texts run once more."""

from tests.promises.conftest import StartEngine
from tests.promises.doors import OK

TEXTS = ["a text of some words"] * 16
TOO_MANY = 12


async def test_a_request_is_answered_in_smaller_passes_and_the_next_ones_need_no_second_try(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine().ready()
    async with engine.door() as door:
        engine.inject(kind="out_of_memory", min_texts=TOO_MANY)
        for _ in range(4):
            answer = await door.embed(TEXTS)
            assert answer.code == OK
            assert answer.vectors is not None
            assert len(answer.vectors) == len(TEXTS)
    counters = (await engine.frame()).counters
    assert (counters.out_of_memory_batches, counters.poisoned, counters.refused_for_memory) == (1, 0, 0)
    assert engine.logged("memory ran out in a forward pass")


async def test_a_request_without_memory_twice_is_resource_exhausted_with_a_time_to_retry(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine().ready()
    async with engine.door() as door:
        engine.inject(kind="out_of_memory")
        answer = await door.embed(TEXTS)
        assert answer.code == "RESOURCE_EXHAUSTED"
        assert answer.retry_after_s is not None
        assert answer.retry_after_s > 0
        engine.inject()
        assert (await door.embed(TEXTS)).code == OK
    counters = (await engine.frame()).counters
    assert (counters.poisoned, counters.refused_for_memory) == (0, len(TEXTS))
