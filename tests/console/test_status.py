"""The status lines name the cause of what they report, and the key that helps."""

from dataclasses import replace

import pytest

from console.model.engine import EngineState
from console.model.frame import Frame
from console.model.load import LoadSpec
from tests.console.conftest import Open
from tests.console.fakes import scenes


def waiting(frame: Frame, *, rate: float = 0.0, texts_per_s: float | None = 400.0, silent_s: float = 0.0) -> Frame:
    """A frame whose oldest request has waited for 12 s."""
    engine = replace(frame.engine, oldest_in_flight_s=12.0, last_frame_age_s=silent_s)
    load = replace(frame.load, running=True, spec=LoadSpec(rate=rate))
    return replace(frame, engine=engine, load=load, window=replace(frame.window, texts_per_s=texts_per_s))


@pytest.mark.parametrize(
    ("frame", "says", "offers_restart"),
    [
        (waiting(scenes.busy(), rate=12.0), "does not keep up with the rate: lower it", False),
        (waiting(scenes.busy(), texts_per_s=None), "has waited 12.0 s", True),
        (waiting(scenes.busy(), texts_per_s=None, silent_s=30.0), "no data from the engine for 30 s", True),
        (waiting(scenes.busy()), "has waited 12.0 s", False),
        (waiting(scenes.switching(), texts_per_s=None), "a switch is in progress", False),
    ],
    ids=["overloaded by an open loop", "hung", "silent", "slow, but answering", "switching"],
)
async def test_a_slow_engine_is_reported_with_its_cause(
    console: Open, frame: Frame, says: str, offers_restart: bool
) -> None:
    async with console(frame) as it:
        said = it.text("progress")
        assert "SLOW" in said
        assert says in said
        assert ("restart" in said) == offers_restart


async def test_the_header_names_the_target_of_a_running_switch(console: Open) -> None:
    frame = scenes.busy()
    requested = replace(frame.engine.requested, backend="torch", precision="int8", recipe="")
    engine = replace(frame.engine, state=EngineState.SWITCHING, requested=requested)
    async with console(replace(frame, engine=engine)) as it:
        assert "requested torch·int8" in it.text("header")
