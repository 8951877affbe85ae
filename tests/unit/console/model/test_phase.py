"""A phase in the log, in the banner and on standard error: its name and its message repeat no word."""

import io

import pytest

from console.commands.progress import Progress
from console.model.engine import Engine, EngineState, Phase
from console.model.frame import Frame
from console.session.port import SessionOptions
from console.session.session import Session

PHASES = [
    (Phase("loading", "loading onnx fp32"), "loading onnx fp32"),
    (Phase("verifying", "comparing 24 texts"), "verifying: comparing 24 texts"),
    (Phase("preparing", "Preparing: export", 1, 3), "preparing 1/3 export"),
    (Phase("prepare", "torch int8", 1, 3), "prepare 1/3: torch int8"),
    (Phase("starting"), "starting"),
    (Phase("loading", "loading"), "loading"),
]


@pytest.mark.parametrize(("phase", "text"), PHASES)
async def test_a_phase_is_logged_with_no_word_twice(phase: Phase, text: str) -> None:
    async with Session(SessionOptions()) as session:
        session._engine._on_phase(phase)
        assert session.frame.log[-1].text == text


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        (Phase("starting"), "starting the engine"),
        (Phase("starting", "binding the address"), "starting the engine: binding the address"),
        (Phase("connecting", "connecting to localhost:1"), "starting the engine: connecting to localhost:1"),
        (Phase("loading", "loading onnx fp32"), "starting the engine: loading onnx fp32"),
    ],
)
def test_progress_shows_a_phase_of_the_start_with_no_word_twice(phase: Phase, text: str) -> None:
    stream = io.StringIO()
    Progress(stream).show(Frame(engine=Engine(state=EngineState.STARTING, phase=phase)), None)
    assert stream.getvalue() == f"{text}\n"
