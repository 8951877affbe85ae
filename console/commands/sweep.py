"""`embedconsole sweep`: runs a sweep, with progress on stderr and the result on stdout."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from console.model.durations import duration
from console.model.exit_codes import EXIT_BY_SIGNAL
from console.model.verdicts import Verdict, exit_code_of
from console.output.sweep import as_json as json_object
from console.output.sweep import as_text, ended_line, progress_line
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.database import Store
from console.store.write import delete_empty_sweep
from console.sweep.point import expected_s
from console.sweep.runner import Sweep, SweepPlan, plan_sweep
from console.sweep.spec import SweepSpec
from console.sweep.state import PointState, PointStatus, SweepState

_MAX_LINE_CHARACTERS = 110


def exit_code(state: SweepState) -> int:
    """Returns the first exit code of the contract that applies to any point."""
    measured = [one.figures for one in state.points if one.figures is not None]
    verdicts = {figures.verdict for figures in measured}
    if any(one.status is PointStatus.FAILED for one in state.points):
        verdicts.add(Verdict.FAILED)
    return exit_code_of(verdicts, slo_missed=any(figures.slo_missed for figures in measured))


class SweepProgress:
    """Prints a line for every point that ends; on a terminal also a progress line that is rewritten."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._statuses: tuple[PointStatus, ...] | None = None
        self._trouble = ""

    def show(self, state: SweepState) -> None:
        """Shows the newest snapshot."""
        statuses = tuple(one.status for one in state.points)
        before = self._statuses or statuses
        self._statuses = statuses
        for one, status_before in zip(state.points, before, strict=True):
            if one.status is not status_before and one.status in (PointStatus.DONE, PointStatus.FAILED):
                self.say(ended_line(one, state))
        if state.trouble and state.trouble != self._trouble:
            self._trouble = state.trouble
            self.say(f"embedconsole: {state.trouble}")
        if self._is_terminal and not state.ended:
            self._stream.write(f"\r\x1b[K{progress_line(state)[:_MAX_LINE_CHARACTERS]}")
            self._stream.flush()

    def say(self, text: str) -> None:
        """Prints a line that is not overwritten."""
        self._stream.write(("\r\x1b[K" if self._is_terminal else "") + text + "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Erases the progress line."""
        if self._is_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def sweep_once(options: SessionOptions, spec: SweepSpec, *, store: Store | None, resume: bool, as_json: bool) -> int:
    """Runs a sweep, records and prints it, and returns the exit code. Raises StoreError if it cannot be stored."""
    plan = plan_sweep(spec, store, resume=resume)
    progress = SweepProgress(sys.stderr)
    progress.say(announcement(plan, resume=resume))
    return asyncio.run(_sweep(options, spec, plan, store, progress, as_json=as_json))


def announcement(plan: SweepPlan, *, resume: bool) -> str:
    """Returns what will be measured and the expected duration."""
    left, name = plan.left, f"sweep {plan.name} ({plan.sweep_id})"
    if not left:
        return f"{name}: all {len(plan.points)} cells are measured already"
    targets = len({point.target for point in left})
    before = f"{len(plan.done)} of {len(plan.points)} cells are measured already, " if plan.done else ""
    if resume and not plan.done:
        before = f"there is no sweep {plan.name!r} to resume, so it starts from the beginning: "
    deployments = f"on {targets} deployment{'s' if targets != 1 else ''}"
    return (
        f"{name}: {before}{len(left)} to measure {deployments}, about"
        f" {duration(expected_s(left, None, switch_s=plan.switch_s))} (longer if a model must be prepared first)"
    )


async def _sweep(
    options: SessionOptions,
    spec: SweepSpec,
    plan: SweepPlan,
    store: Store | None,
    progress: SweepProgress,
    *,
    as_json: bool,
) -> int:
    state, stopped_by = await run_sweep(
        options, plan, store, progress, "finishing the running cell; Ctrl+C again stops now and keeps its results"
    )
    order = spec.points
    shown = json.dumps(json_object(state, order, interrupted=bool(stopped_by))) if as_json else as_text(state, order)
    print(shown, flush=True)
    if store is not None and has_runs(state):
        progress.say(f"recorded: embedconsole runs --sweep {state.sweep_id}{_resume_hint(state.points)}")
    return EXIT_BY_SIGNAL + stopped_by if stopped_by else exit_code(state)


async def run_sweep(
    options: SessionOptions,
    plan: SweepPlan,
    store: Store | None,
    progress: SweepProgress,
    finishing: str,
    *,
    shown_as: Callable[[SweepState], SweepState] = lambda state: state,
) -> tuple[SweepState, int]:
    """Runs a sweep to its end or until a signal. Returns the last snapshot and the first signal's number, else 0.

    `finishing` is the message of the first Ctrl+C; `shown_as` converts a snapshot for the progress.
    """
    received: list[signal.Signals] = []
    async with Session(options) as session:
        sweep = Sweep(session, plan, store, lambda state: progress.show(shown_as(state)))

        def interrupt(number: signal.Signals) -> None:
            received.append(number)
            if number is signal.SIGINT and len(received) == 1:
                progress.say(finishing)
                sweep.finish_point()
            else:
                sweep.stop_now()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, interrupt, number)
        state = await sweep.run()
    progress.clear()
    if store is not None:
        delete_empty_sweep(store, plan.sweep_id)
    return state, received[0] if received else 0


def has_runs(state: SweepState) -> bool:
    """Whether the sweep has recorded a run. Without any, as where no engine answers, it leaves nothing in the store."""
    return any(one.figures is not None for one in state.points)


def _resume_hint(points: Sequence[PointState]) -> str:
    incomplete = any(one.status is not PointStatus.DONE for one in points)
    return "; the same command with --resume measures the missing cells" if incomplete else ""
