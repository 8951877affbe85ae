"""The load generator's process: reads commands from stdin and writes events to stdout, both as JSON lines.

Standard input is its lifeline: at end of file it cancels the load and exits, so that it does not outlive a console that
was killed.
"""

import asyncio
import os
import sys
from contextlib import suppress

from console.load.attempts import make_plan
from console.load.corpora import MAX_TEXT_BYTES, CorpusError
from console.load.driver import Driver
from console.load.event_loop import new_event_loop
from console.load.protocol import (
    Change,
    Command,
    Event,
    Ready,
    Refused,
    Start,
    Stop,
    Tick,
    decode_command,
    encode_event,
)
from console.model.supervise import Supervisor, to_stderr

_LONGEST_LINE_BYTES = 1 << 20
_UNREAD_LIMIT_BYTES = 1 << 20


class _Output:
    """Writes events without blocking the load: if the reader is slow, ticks are dropped."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport

    def emit(self, event: Event) -> None:
        if isinstance(event, Tick) and self._transport.get_write_buffer_size() > _UNREAD_LIMIT_BYTES:
            return
        self._transport.write(encode_event(event))


class _Commands:
    """Executes commands one after another. At most one load runs at a time."""

    def __init__(self, output: _Output) -> None:
        self._output = output
        self._supervisor = Supervisor(to_stderr)
        self._driver: Driver | None = None

    async def execute(self, command: Command) -> None:
        """Executes a command. Every command except Stop is answered, even if it fails."""
        command_id = 0 if isinstance(command, Stop) else command.command_id
        try:
            if isinstance(command, Start):
                await self._start(command)
            elif isinstance(command, Change):
                await self._change(command)
            else:
                await self.stop()
        except CorpusError as error:
            self._output.emit(Refused(str(error), command_id))
        except Exception as error:  # the next command must still be executed
            sentence = self._supervisor.fault("a command of the load generator", error)
            self._output.emit(Refused(sentence, command_id))

    async def _start(self, command: Start) -> None:
        limit = command.max_text_bytes or MAX_TEXT_BYTES
        plan = await make_plan(command.spec, limit)
        if self._driver is not None:
            await self._driver.stop()
        self._driver = Driver(command.target, plan, self._output.emit, limit)
        self._driver.start(command.command_id)

    async def _change(self, command: Change) -> None:
        if self._driver is None:
            self._output.emit(Refused("no load is running: start one first", command.command_id))
        else:
            await self._driver.change(command.spec, command.command_id)

    async def stop(self, timeout_s: float | None = None) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            await (driver.stop() if timeout_s is None else driver.stop(timeout_s))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LONGEST_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, _ = await loop.connect_write_pipe(asyncio.Protocol, sys.stdout)
    output = _Output(transport)
    commands = _Commands(output)
    output.emit(Ready(os.getpid()))
    waiting: asyncio.Queue[Command] = asyncio.Queue()
    worker = Supervisor(to_stderr).run("executing commands", _execute_all(commands, waiting))
    while line := await reader.readline():
        try:
            waiting.put_nowait(decode_command(line))
        except ValueError as error:
            output.emit(Refused(str(error)))
    worker.cancel()  # a stop that waits for a hung engine must not keep this process alive
    await asyncio.wait([worker])
    await commands.stop(timeout_s=0.0)


async def _execute_all(commands: _Commands, waiting: asyncio.Queue[Command]) -> None:
    while True:
        await commands.execute(await waiting.get())


def main() -> None:
    """Runs until standard input ends."""
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve())


if __name__ == "__main__":
    main()
