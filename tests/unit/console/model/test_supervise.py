"""Supervision of tasks: every fault is logged, repeated faults are counted, and cancellation is not a fault."""

import asyncio
import contextlib
import re
from pathlib import Path

import pytest

import console
from console.model.errors import CommandRefused
from console.model.supervise import FIRST_RESTART_S, LONGEST_RESTART_S, SAME_FAULT_S, Supervisor


class Recorded:
    """A supervisor with its recorded log, reports and pauses, on a manual clock."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.reports: list[str] = []
        self.pauses_s: list[float] = []
        self.now_s = 0.0
        self.supervisor = Supervisor(
            lambda level, text: self.lines.append((level, text)),
            report=self.reports.append,
            now_s=lambda: self.now_s,
            sleep=self._sleep,
        )

    async def _sleep(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)
        self.now_s += pause_s

    @property
    def sentences(self) -> list[str]:
        return [text for level, text in self.lines if level == "error"]

    @property
    def traceback(self) -> str:
        return "\n".join(text for level, text in self.lines if level == "debug")


async def fails() -> None:
    raise ValueError("what nobody expected")


async def test_a_fault_of_a_task_is_logged_with_its_traceback_and_reported() -> None:
    recorded, failed = Recorded(), list[str]()
    task = recorded.supervisor.run("the work", fails(), failed.append)
    await task
    assert recorded.sentences == recorded.reports == failed == ["the work failed: ValueError: what nobody expected"]
    assert "in fails" in recorded.traceback
    assert all("\n" not in text for _, text in recorded.lines)


async def test_a_cancelled_task_is_no_fault_and_stays_cancelled() -> None:
    recorded = Recorded()
    forever = asyncio.Event()
    for task in (
        recorded.supervisor.run("the work", contextlib.AsyncExitStack().aclose()),
        recorded.supervisor.run("waiting", forever.wait()),  # type: ignore[arg-type]  # what it returns does not matter
        recorded.supervisor.keep_running("waiting", lambda: forever.wait()),  # type: ignore[arg-type, return-value]  # nor here
    ):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert recorded.lines == []


async def test_a_refusal_is_an_answer_and_has_no_traceback() -> None:
    async def refused() -> None:
        raise CommandRefused("no engine runs: start it first")

    recorded = Recorded()
    await recorded.supervisor.guard("the work", refused())
    assert recorded.lines == [("warning", "no engine runs: start it first")]
    assert recorded.reports == []


async def test_work_that_must_go_on_is_started_again_after_growing_pauses() -> None:
    recorded, starts = Recorded(), 0

    async def work() -> None:
        nonlocal starts
        starts += 1
        if starts == 8:
            recorded.now_s += LONGEST_RESTART_S
        if starts < 10:
            await fails()

    await recorded.supervisor.keep_running("the work", work)
    assert starts == 10
    assert recorded.pauses_s[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert recorded.pauses_s[7] == FIRST_RESTART_S, "it had run for long before it failed again"
    assert len(recorded.reports) == 9


async def test_a_fault_that_repeats_is_logged_once_a_minute_and_counted() -> None:
    recorded = Recorded()
    for _ in range(100):
        await recorded.supervisor.guard("the work", fails())
    assert len(recorded.sentences) == 1
    recorded.now_s += SAME_FAULT_S
    await recorded.supervisor.guard("the work", fails())
    assert recorded.sentences[1].endswith("(99 more of this kind before)")
    await recorded.supervisor.guard("other work", fails())
    assert len(recorded.sentences) == 3


async def test_the_fault_of_a_callback_and_of_a_task_started_elsewhere_are_logged_too() -> None:
    recorded = Recorded()
    recorded.supervisor.call("reading a line", lambda line: int(line), b"x")
    recorded.supervisor.call("reading a line", recorded.reports.append, "read")
    task = recorded.supervisor.watch("a request", asyncio.ensure_future(fails()))
    with pytest.raises(ValueError, match="nobody"):
        await task
    await asyncio.sleep(0)
    assert [sentence.partition(" failed")[0] for sentence in recorded.sentences] == ["reading a line", "a request"]
    assert "read" in recorded.reports


async def test_the_loop_s_own_handler_logs_what_nobody_awaited() -> None:
    recorded = Recorded()
    loop = asyncio.get_running_loop()
    context = {"message": "Task exception was never retrieved", "exception": ValueError("lost")}
    recorded.supervisor.on_loop_fault(loop, context)
    assert recorded.sentences == ["the event loop failed: ValueError: lost"]
    assert "Task exception was never retrieved" in recorded.traceback


async def test_a_listener_that_fails_hides_neither_the_fault_nor_its_own() -> None:
    def broken(_sentence: str) -> None:
        raise RuntimeError("no screen")

    recorded = Recorded()
    await recorded.supervisor.guard("the work", fails(), broken)
    assert recorded.sentences == [
        "the work failed: ValueError: what nobody expected",
        "reporting a fault failed: RuntimeError: no screen",
    ]


_STARTS = re.compile(r"\b(create_task|ensure_future|run_worker)\(")
_STARTERS = {
    "model/supervise.py": "supervises",
    "tui/app.py": "guards the coroutines of its workers",
    "tui/app_port.py": "declares run_worker",
    "load/closed_loop.py": "watches its tasks",
    "load/open_loop.py": "watches its tasks",
    "tui/shutdown.py": "reports every fault during the shutdown",
    "measure/cleanup.py": "awaits its own tasks",
    "measure/driver_ceiling.py": "awaits its own tasks",
    "sweep/engine_setup.py": "awaits its own tasks",
}


def test_no_task_of_the_console_is_started_without_supervision() -> None:
    folder = Path(console.__file__).parent
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.py") if _STARTS.search(path.read_text())}
    assert found - set(_STARTERS) == set()
