"""The store as the console's screens use it: asked in threads, so that a slow disk or 10,000 rows hold up no key."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from console.compare.gate import WrongBaseline, judge_run
from console.compare.gate_conditions import ConditionError, parse_condition
from console.load.protocol import Interval
from console.measure.recorder import utc_now
from console.measure.result import as_json as report_of
from console.model.errors import CommandRefused
from console.model.load import Point
from console.output.gate import as_text
from console.output.runs import recovered_measurement
from console.report.build import report_text
from console.report.model import NothingToReport
from console.services.ports import ListedRun
from console.session.live_metrics import EngineSample, point_of
from console.store.database import Store, StoreError
from console.store.labels import cell_name, load_name
from console.store.opened_run import OpenedRun
from console.store.read import RunRow, StoredRun, list_runs, load_run
from console.store.write import add_note, add_tags, delete_runs, remove_tags

Answer = TypeVar("Answer")
_SAMPLES_BESIDE = 8
"""Counters that a point may need: one comes each second."""


class RunLibrary:
    """Implements RunsPort. Each question opens the file anew: a store belongs to the thread that opened it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> str:
        return str(self._path)

    async def runs(self) -> Sequence[ListedRun]:
        return await self._ask(lambda store: [ListedRun(row, searchable_text(row)) for row in list_runs(store)])

    async def run(self, run_id: str) -> OpenedRun:
        return await self._ask(lambda store: opened(load_run(store, run_id)))

    async def tag(self, run_id: str, add: Sequence[str], remove: Sequence[str]) -> None:
        def write(store: Store) -> None:
            if add:
                add_tags(store, run_id, add)
            if remove:
                remove_tags(store, run_id, remove)

        await self._ask(write)

    async def note(self, run_id: str, text: str) -> None:
        await self._ask(lambda store: add_note(store, run_id, text, utc_now()))

    async def delete(self, run_ids: Sequence[str]) -> None:
        await self._ask(lambda store: delete_runs(store, run_ids))

    async def report(self, names: Sequence[str], form: str) -> str:
        return await self._ask(lambda store: report_text(store, names, form))

    async def gate(self, run_id: str, conditions: Sequence[str]) -> str:
        def judge(store: Store) -> str:
            wanted = [parse_condition(condition) for condition in conditions]
            return as_text(judge_run(store, load_run(store, run_id), wanted))

        return await self._ask(judge)

    async def _ask(self, question: Callable[[Store], Answer]) -> Answer:
        def asked() -> Answer:
            with Store.open(self._path) as store:
                return question(store)

        try:
            return await asyncio.to_thread(asked)
        except (StoreError, NothingToReport, ConditionError, WrongBaseline) as error:
            raise CommandRefused(str(error)) from error


def opened(run: StoredRun) -> OpenedRun:
    """With its chart, and with a report also where it never ended."""
    report = run.report
    if report is None and run.intervals:
        report = report_of(recovered_measurement(run))
    return OpenedRun(run, report or {}, points_of(run.intervals, run.samples))


def searchable_text(row: RunRow) -> str:
    """What a filter looks through."""
    cell = cell_name(row.requested, row.effective)
    more = ("fallback " if " → " in cell else "") + ("slo missed " if row.slo_missed else "")
    tags = " ".join(f"#{tag}" for tag in row.tags)
    return (
        f"{row.run_id} {row.started_at} {cell} {row.effective_device} {row.model} {load_name(row)} b{row.batch} "
        f"c{row.concurrency} {row.verdict.replace('_', ' ')} {more}{row.sweep_id} {tags}"
    ).lower()


def points_of(intervals: Sequence[Interval], samples: Sequence[EngineSample]) -> tuple[Point, ...]:
    """The run's seconds as a chart draws them; a second without an answer is a gap."""
    points, until = [], 0
    for interval in intervals:
        while until < len(samples) and samples[until].time_s <= interval.end_s:
            until += 1
        points.append(point_of(interval, samples[max(0, until - _SAMPLES_BESIDE) : until]))
    return tuple(point for point in points if point is not None)
