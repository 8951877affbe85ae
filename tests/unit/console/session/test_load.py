"""The load controller: every command gets its own answer, and a bad line does not stop the reading."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from console.load.protocol import (
    Answers,
    Change,
    Changed,
    Command,
    Event,
    Interval,
    Refused,
    Start,
    Started,
    Stop,
    Stopped,
)
from console.model.errors import CommandRefused
from console.model.load import LoadSpec
from console.session.child_process import ChildGone
from console.session.driver_process import DriverProcess
from console.session.live_metrics import LiveMetrics
from console.session.load import UNREADABLE_LOG_S, LoadController, LoadEvents
from tests.unit.console.support.intervals import second

FIRST, SECOND, THIRD = LoadSpec(1, 1), LoadSpec(2, 2), LoadSpec(3, 3)


class FakeDriver(DriverProcess):
    """Records the commands, which a test answers explicitly."""

    def __init__(
        self, on_event: Callable[[Event], None], on_log: Callable[[str, str], None], on_exit: Callable[[int], None]
    ) -> None:
        super().__init__(on_event, on_log, on_exit)
        self.sent: list[Command] = []
        self.starts = 0
        self._runs = False

    async def start(self) -> None:
        await asyncio.sleep(0)
        self.starts += 1
        self._runs = True

    @property
    def running(self) -> bool:
        return self._runs

    def send(self, command: Command) -> None:
        if not self._runs:
            raise ChildGone("the load generator is not running")
        self.sent.append(command)

    async def stop(self, timeout_s: float = 0.0) -> None:
        self.end(0)

    def end(self, code: int) -> None:
        self._runs = False
        self._on_exit(code)

    def answer(self, position: int, refusal: str = "") -> None:
        """Answers the command at that position of all that were sent, as the driver's process does."""
        command = self.sent[position]
        if isinstance(command, Stop):
            self._on_event(Stopped(0.0, 0, 0, {}))
        elif refusal:
            self._on_event(Refused(refusal, command.command_id))
        elif isinstance(command, Start):
            self._on_event(Started(0.0, "short", 9, command.spec, command.command_id))
        else:
            self._on_event(Changed(0.0, 9, command.spec, command.command_id))

    def emit(self, event: Event) -> None:
        self._on_event(event)


class Rig:
    """A load link on a fake driver, with its log and its clock."""

    def __init__(self, answer_timeout_s: float = 15.0) -> None:
        self.log: list[tuple[str, str]] = []
        self.intervals: list[Interval] = []
        self.now_s = 0.0
        self.metrics = LiveMetrics()
        events = LoadEvents(lambda _source, level, text: self.log.append((level, text)), self.intervals.append)
        self.controller = LoadController(
            LoadSpec(),
            self.metrics,
            events,
            lambda: self.now_s,
            0.0,
            make_driver=FakeDriver,
            answer_timeout_s=answer_timeout_s,
        )
        driver = self.controller._driver
        assert isinstance(driver, FakeDriver)
        self.driver = driver

    async def sent(self, commands: int) -> None:
        """Returns when so many commands have been sent."""
        async with asyncio.timeout(20):
            while len(self.driver.sent) < commands:  # noqa: ASYNC110 - a fake has no event to wait for
                await asyncio.sleep(0)

    async def started(self, spec: LoadSpec = FIRST) -> None:
        starting = asyncio.create_task(self.controller.start(spec, "127.0.0.1:1", 0))
        await self.sent(1)
        self.driver.answer(0)
        await starting


async def idle() -> None:
    """Lets every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_two_changes_at_once_get_each_its_own_answer() -> None:
    rig = Rig()
    await rig.started()
    first = asyncio.create_task(rig.controller.change(SECOND))
    second_one = asyncio.create_task(rig.controller.change(THIRD))
    await rig.sent(2)
    rig.driver.answer(1)
    await first
    assert rig.controller.load.spec == SECOND, "what is shown is what the driver has carried out"
    assert not second_one.done()
    await rig.sent(3)
    rig.driver.answer(2, refusal="no such file")
    with pytest.raises(CommandRefused, match="no such file"):
        await second_one
    assert rig.controller.load.spec == SECOND


async def test_two_starts_at_once_start_one_driver_and_the_second_is_refused() -> None:
    rig = Rig()
    first = asyncio.create_task(rig.controller.start(FIRST, "127.0.0.1:1", 0))
    second_one = asyncio.create_task(rig.controller.start(SECOND, "127.0.0.1:1", 0))
    await rig.sent(1)
    await idle()
    rig.driver.answer(0)
    await first
    with pytest.raises(CommandRefused, match="a load is running"):
        await second_one
    assert rig.driver.starts == 1
    assert [type(command) for command in rig.driver.sent] == [Start]


async def test_a_change_during_a_start_is_carried_out_after_it() -> None:
    rig = Rig()
    starting = asyncio.create_task(rig.controller.start(FIRST, "127.0.0.1:1", 0))
    await rig.sent(1)
    changing = asyncio.create_task(rig.controller.change(SECOND))
    await idle()
    rig.driver.answer(0)
    await starting
    await rig.sent(2)
    rig.driver.answer(1)
    await changing
    assert rig.controller.load.spec == SECOND


async def test_the_late_answer_of_a_cancelled_caller_is_not_the_next_one_s() -> None:
    rig = Rig()
    await rig.started()
    first = asyncio.create_task(rig.controller.change(SECOND))
    await rig.sent(2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    next_one = asyncio.create_task(rig.controller.change(THIRD))
    await rig.sent(3)
    rig.driver.answer(1)
    await idle()
    assert not next_one.done()
    assert rig.controller.load.spec == SECOND
    rig.driver.answer(2)
    await next_one
    assert rig.controller.load.spec == THIRD
    assert rig.controller._answers == {}


async def test_a_cancelled_start_leaves_no_load_behind() -> None:
    rig = Rig()
    starting = asyncio.create_task(rig.controller.start(FIRST, "127.0.0.1:1", 0))
    await rig.sent(1)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert isinstance(rig.driver.sent[-1], Stop)
    rig.driver.answer(0)
    rig.driver.answer(1)
    assert not rig.controller.load.running
    again = asyncio.create_task(rig.controller.start(SECOND, "127.0.0.1:1", 0))
    await rig.sent(3)
    rig.driver.answer(2)
    await again
    assert rig.controller.load.running


async def test_a_driver_that_never_answers_is_said_to_every_caller() -> None:
    rig = Rig(answer_timeout_s=0.01)
    callers = [rig.controller.start(spec, "127.0.0.1:1", 0) for spec in (FIRST, SECOND)]
    for outcome in await asyncio.gather(*callers, return_exceptions=True):
        assert isinstance(outcome, CommandRefused)
        assert str(outcome) == "the load generator does not answer: stop the load and start it again"
    assert rig.controller._answers == {}


async def test_a_driver_that_ends_refuses_the_caller_that_waits_and_the_next_one() -> None:
    rig = Rig()
    await rig.started()
    callers = [asyncio.create_task(rig.controller.change(spec)) for spec in (SECOND, THIRD)]
    await rig.sent(2)
    rig.driver.end(-9)
    with pytest.raises(CommandRefused, match="has exited: try again"):
        await callers[0]
    await callers[1]
    assert not rig.controller.load.running
    assert rig.controller.load.spec == THIRD, "for the next start"


async def test_a_command_to_a_driver_that_does_not_run_is_refused_at_once() -> None:
    with pytest.raises(ChildGone):
        DriverProcess(lambda _event: None, lambda _level, _text: None, lambda _code: None).send(Change(FIRST))


async def test_an_interval_with_a_bad_histogram_is_dropped_and_said_once_a_minute() -> None:
    rig = Rig()
    await rig.started()
    good = second(0)
    bad = (
        replace(good, answers=Answers(1, 1, "garbage", 1)),
        replace(good, send_lag="HISTFAAAAC"),
        replace(good, epochs={"1": Answers(1, 1, "é", 1)}),
    )
    for interval in bad:
        rig.driver.emit(interval)
    rig.driver.emit(second(1))
    assert [interval.index for interval in rig.intervals] == [1]
    assert [interval.index for interval in rig.metrics.intervals] == [1]
    assert rig.controller.unreadable_intervals == 3
    warnings = [text for level, text in rig.log if level == "warning"]
    assert len(warnings) == 1
    assert "1 dropped so far" in warnings[0]
    rig.now_s += UNREADABLE_LOG_S
    rig.driver.emit(bad[0])
    assert "4 dropped so far" in rig.log[-1][1]
