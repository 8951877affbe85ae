"""A child's output: a line that its reader cannot handle is logged, and the lines after it still come."""

import asyncio
import sys

from console.model.supervise import Supervisor
from console.session.child_process import Child


async def test_a_reader_that_fails_on_one_line_is_logged_and_reads_the_next() -> None:
    log, read, ended = list[tuple[str, str]](), list[bytes](), asyncio.Event()

    def on_line(line: bytes) -> None:
        if line == b"bad":
            raise LookupError("no such event")
        read.append(line)

    await Child.start(
        (sys.executable, "-c", "print('one\\nbad\\ntwo')"),
        on_stdout=on_line,
        on_stderr=lambda _line: None,
        on_exit=lambda _code: ended.set(),
        supervisor=Supervisor(lambda level, text: log.append((level, text))),
    )
    async with asyncio.timeout(20):
        await ended.wait()
    assert read == [b"one", b"two"]
    assert ("error", "reading a child's output failed: LookupError: no such event") in log
    assert any("in on_line" in text for level, text in log if level == "debug")


async def test_a_listener_that_fails_at_the_end_is_logged() -> None:
    logged = asyncio.Event()
    log: list[str] = []

    def add(_level: str, text: str) -> None:
        log.append(text)
        logged.set()

    def fails(_code: int) -> None:
        raise KeyError("follower")

    await Child.start(
        (sys.executable, "-c", ""),
        on_stdout=lambda _line: None,
        on_stderr=lambda _line: None,
        on_exit=fails,
        supervisor=Supervisor(add),
    )
    async with asyncio.timeout(20):
        await logged.wait()
    assert log[0] == "waiting for a child's exit failed: KeyError: 'follower'"
