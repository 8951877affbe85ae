"""What the console says of an address where no engine answers is true, and names the next step."""

import asyncio
import socket

import pytest

from console.model.engine import EngineState
from console.session.no_answer import no_answer
from console.session.port import SessionOptions
from console.session.session import Session
from tests.support.fake_engine import FakeEngine, start_server

REFUSED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:9: Failed to connect to remote host:"
    " connect: Connection refused (111)"
)


@pytest.mark.parametrize(
    ("code", "details", "says"),
    [
        (
            "UNAVAILABLE",
            REFUSED,
            "nothing listens at 127.0.0.1:9 (connection refused): start an engine there (engine serve --port 9)",
        ),
        (
            "UNAVAILABLE",
            "DNS resolution failed for lab:9: C-ares status is not ARES_SUCCESS: Domain name not found",
            "the host of 127.0.0.1:9 is not known (its name cannot be resolved): check the address",
        ),
        ("UNIMPLEMENTED", "Method not found!", "a server answers at 127.0.0.1:9, but it is no engine"),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: OK", "it does not speak gRPC"),
        (
            "UNAVAILABLE",
            "…: connection attempt timed out before receiving SETTINGS frame",
            "it does not speak gRPC",
        ),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "no answer from 127.0.0.1:9 in time"),
        ("UNAVAILABLE", "No route to host", "no answer from 127.0.0.1:9 (No route to host)"),
    ],
)
def test_each_way_not_to_be_answered_has_its_sentence(code: str, details: str, says: str) -> None:
    sentence = no_answer("127.0.0.1:9", code, details)
    assert says in sentence
    assert "trying again" not in sentence, "a headless command does not"
    assert ": " in sentence, "with a next step"


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_an_engine_that_was_never_there_is_not_lost() -> None:
    port = closed_port()
    async with Session(SessionOptions(connect=f"127.0.0.1:{port}")) as session:
        await session.wait_until_ready()
        engine = session.frame.engine
        assert engine.never_answered
        assert engine.message.startswith(f"nothing listens at 127.0.0.1:{port} (connection refused)")
        assert any(line.text.startswith("nothing listens at") for line in session.frame.log)


async def test_an_engine_that_has_answered_can_be_lost() -> None:
    server, address = await start_server(FakeEngine())
    async with Session(SessionOptions(connect=address)) as session:
        await session.wait_until_ready()
        assert not session.frame.engine.never_answered
        await server.stop(0)
        while session.frame.engine.state is not EngineState.LOST:  # noqa: ASYNC110 - frames have no event
            await asyncio.sleep(0.01)
        assert not session.frame.engine.never_answered
        assert "no answer from" in session.frame.engine.message
