"""The load generator's process: a command that fails is answered, and the next one is executed."""

import asyncio

import pytest

from console.load.__main__ import _Commands, _execute_all
from console.load.protocol import Change, Command, Event, Refused, Stop
from console.model.load import LoadSpec


class Output:
    """Records the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


class BrokenDriver:
    """A load whose `change` fails with an unexpected exception."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    async def change(self, spec: LoadSpec, command_id: int = 0) -> None:
        raise ZeroDivisionError("a fault")

    async def stop(self) -> None:
        self.stopped.set()


async def test_a_command_that_fails_is_answered_and_the_next_one_is_executed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output, driver = Output(), BrokenDriver()
    commands = _Commands(output)  # type: ignore[arg-type]  # keeps the events instead of writing them
    commands._driver = driver  # type: ignore[assignment]  # a stand-in
    waiting: asyncio.Queue[Command] = asyncio.Queue()
    for command in (Change(LoadSpec(), 7), Stop()):
        waiting.put_nowait(command)
    worker = asyncio.create_task(_execute_all(commands, waiting))
    async with asyncio.timeout(20):
        await driver.stopped.wait()
    worker.cancel()
    sentence = "a command of the load generator failed: ZeroDivisionError: a fault"
    assert output.events == [Refused(sentence, 7)]
    assert f"error: {sentence}" in capsys.readouterr().err
