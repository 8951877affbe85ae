"""Row 11: a vector that is not finite is INTERNAL, counted, and never returned."""

import numpy as np
import pytest

from tests.promises.conftest import StartEngine
from tests.promises.doors import OK


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
async def test_a_vector_with_a_nan_is_internal_and_counted(start_engine: StartEngine, half: bool) -> None:
    engine = await start_engine().ready()
    async with engine.door() as door:
        engine.inject(kind="nan")
        for normalize in (None, True, False):
            answer = await door.embed(["a text"], half=half, normalize=normalize)
            assert (answer.code, answer.vectors) == ("INTERNAL", None)
            assert "text 0" in answer.message
    counters = (await engine.frame()).counters
    assert (counters.poisoned, counters.errors["INTERNAL"]) == (3, 3)


async def test_a_vector_that_is_infinite_as_float16_is_internal_and_counted_and_the_next_step_works(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine().ready()
    async with engine.door() as door:
        engine.inject(kind="overflow")
        answer = await door.embed(["a text"], half=True, normalize=False)
        assert (answer.code, answer.vectors) == ("INTERNAL", None)
        assert "FLOAT32" in answer.message
        assert "normalize" in answer.message
        for answer in (
            await door.embed(["a text"], half=False, normalize=False),
            await door.embed(["a text"], half=True, normalize=True),
        ):
            assert answer.code == OK
            assert answer.vectors is not None
            assert np.isfinite(answer.vectors).all()
    assert (await engine.frame()).counters.errors["INTERNAL"] == 1
