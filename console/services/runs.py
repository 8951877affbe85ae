"""Access to the store for the screens, in worker threads, so that a slow disk does not block the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from console.compare.gate import WrongBaseline, judge_run
from console.compare.gate_conditions import ConditionError, parse_condition
from console.load.protocol import Interval
from console.measure.result import as_json as report_of
from console.measure.segment_figures import segment_figures
from console.model.errors import CommandRefused
from console.model.load import Point
from console.model.recording import LIVE
from console.output.gate import as_text
from console.output.runs import recovered_measurement
from console.report.build import report_text
from console.report.model import NothingToReport
from console.services.ports import ListedRun
from console.session.live_metrics import EngineSample, point_of
from console.store.database import Store, StoreError
from console.store.labels import cell_name, load_name
from console.store.liveness import utc_now
from console.store.opened_run import OpenedRun
from console.store.read import RunRow, StoredRun, list_runs, load_run
from console.store.write import add_note, add_tags, delete_runs, remove_tags

T = TypeVar("T")
_SAMPLES_PER_POINT = 8
"""Samples of the engine's counters that a chart point may need; one arrives per second."""


class RunLibrary:
    """Implements RunsPort. Each call opens the file again, because only the opening thread may use a store."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> str:
        return str(self._path)

    async def runs(self) -> Sequence[ListedRun]:
        return await self._with_store(lambda store: [ListedRun(row, searchable_text(row)) for row in list_runs(store)])

    async def run(self, run_id: str) -> OpenedRun:
        return await self._with_store(lambda store: opened(load_run(store, run_id)))

    async def tag(self, run_id: str, add: Sequence[str], remove: Sequence[str]) -> None:
        def write(store: Store) -> None:
            if add:
                add_tags(store, run_id, add)
            if remove:
                remove_tags(store, run_id, remove)

        await self._with_store(write)

    async def note(self, run_id: str, text: str) -> None:
        await self._with_store(lambda store: add_note(store, run_id, text, utc_now()))

    async def delete(self, run_ids: Sequence[str]) -> None:
        await self._with_store(lambda store: delete_runs(store, run_ids))

    async def report(self, names: Sequence[str], form: str) -> str:
        return await self._with_store(lambda store: report_text(store, names, form))

    async def gate(self, run_id: str, conditions: Sequence[str]) -> str:
        def judge(store: Store) -> str:
            parsed = [parse_condition(condition) for condition in conditions]
            return as_text(judge_run(store, load_run(store, run_id), parsed))

        return await self._with_store(judge)

    async def _with_store(self, operation: Callable[[Store], T]) -> T:
        """Runs an operation on the store in a worker thread. Raises CommandRefused."""

        def run() -> T:
            with Store.open(self._path) as store:
                return operation(store)

        try:
            return await asyncio.to_thread(run)
        except (StoreError, NothingToReport, ConditionError, WrongBaseline) as error:
            raise CommandRefused(str(error)) from error


def opened(run: StoredRun) -> OpenedRun:
    """Returns the run with its chart points, and with a computed report if it did not end."""
    report = run.report
    if report is None and run.intervals:
        report = report_of(recovered_measurement(run))
    known = run.live.samples_known if run.live is not None else None
    return OpenedRun(run, report or {}, points_of(run.intervals, run.samples, known), segment_figures(run))


def searchable_text(row: RunRow) -> str:
    """Returns the text in which the filter of the Runs screen searches."""
    cell = cell_name(row.requested, row.effective)
    marks = ("fallback " if " → " in cell else "") + ("slo missed " if row.slo_missed else "")
    origin = "live " if row.origin == LIVE else ""
    tags = " ".join(f"#{tag}" for tag in row.tags)
    return (
        f"{row.run_id} {row.started_at} {cell} {row.effective_device} {row.model} {load_name(row)} b{row.batch} "
        f"c{row.concurrency} {row.verdict.replace('_', ' ')} {marks}{row.sweep_id} {origin}{tags}"
    ).lower()


def points_of(
    intervals: Sequence[Interval], samples: Sequence[EngineSample], known: Sequence[int] | None = None
) -> tuple[Point, ...]:
    """Returns a chart point per interval; an interval without an answer gives none.

    `known`: for each interval, the number of samples that had arrived when it did; by default those until its end.
    """
    points, end = [], 0
    for at, interval in enumerate(intervals):
        if known is not None:
            end = known[at]
        else:
            while end < len(samples) and samples[end].time_s <= interval.end_s:
                end += 1
        points.append(point_of(interval, samples[max(0, end - _SAMPLES_PER_POINT) : end]))
    return tuple(point for point in points if point is not None)
