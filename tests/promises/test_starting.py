"""An engine starts, and goes on, wherever people and service managers start things."""

import os
import signal
from collections.abc import Callable

import pytest

from engine.api.client import EmbedClient
from tests.support.engine_process import EngineProcess

ONE_THREAD = ("--backend", "onnx", "--precision", "fp32", "--instances", "1", "--threads", "1")

Start = Callable[..., EngineProcess]


async def serves(engine: EngineProcess) -> bool:
    """Whether the engine still answers."""
    async with EmbedClient(engine.address) as client:
        return (await client.embed(["a text"])).shape == (1, 384)


@pytest.mark.parametrize(
    "started_by",
    ['exec "$@"', 'exec "$@" <&-', 'exec "$@" </dev/null', 'true | exec "$@"', 'exec "$@" <<END\nwords\nEND\n'],
    ids=["a pipe that ends", "closed", "/dev/null", "a pipe at its end", "a heredoc"],
)
async def test_the_end_of_a_stdin_that_is_no_lifeline_does_not_end_the_engine(
    start_engine: Start, started_by: str
) -> None:
    engine = start_engine(*ONE_THREAD, started_by=started_by).wait_ready()
    engine.close_stdin()
    assert await serves(engine)
    assert engine.process.poll() is None


def test_a_lifeline_that_is_no_pipe_is_refused_with_what_to_do(start_engine: Start) -> None:
    engine = start_engine(started_by='exec "$@" --lifeline stdin </dev/null')
    assert engine.wait() == 5
    (error,) = engine.events_named("error")
    assert "--lifeline" in error["message"]
    assert "leave --lifeline out" in error["fix"]


@pytest.mark.parametrize(
    ("started_by", "ignored"),
    [
        ("trap '' HUP; exec \"$@\"", signal.SIGHUP),
        ('exec nohup "$@"', signal.SIGHUP),
        ("trap '' INT; exec \"$@\"", signal.SIGINT),
    ],
    ids=["trap HUP", "nohup", "trap INT"],
)
async def test_a_signal_that_was_ignored_at_the_start_stays_ignored(
    start_engine: Start, started_by: str, ignored: signal.Signals
) -> None:
    engine = start_engine(*ONE_THREAD, started_by=started_by).wait_ready()
    os.kill(engine.process.pid, ignored)
    assert await serves(engine)
    assert await serves(engine), "a signal is handled before the second request"


def test_a_signal_that_was_not_ignored_still_ends_it(start_engine: Start) -> None:
    engine = start_engine(*ONE_THREAD, started_by='exec "$@"').wait_ready()
    engine.process.send_signal(signal.SIGHUP)
    assert engine.wait() == 0
