"""`embedconsole sweep` from its specification to its exit code: progress on stderr, the result on stdout."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from console.model.durations import duration
from console.model.exit_codes import EXIT_BY_SIGNAL, ExitCode
from console.output.sweep import as_json as json_object
from console.output.sweep import as_text, ended_line, progress_line
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.database import Store
from console.sweep.cell import expected_s
from console.sweep.runner import Sweep, SweepPlan, plan_sweep
from console.sweep.spec import SweepSpec
from console.sweep.state import CellState, CellStatus, SweepState

_LINE_LETTERS = 110


def exit_code(state: SweepState) -> int:
    """The first of the contract's codes that applies to any cell."""
    found = [one.figures for one in state.cells if one.figures is not None]
    if any(one.status is CellStatus.FAILED for one in state.cells):
        return ExitCode.ENGINE_FAILED
    for verdict, code in (("client_bound", ExitCode.CLIENT_BOUND), ("unstable", ExitCode.UNSTABLE)):
        if any(figures.verdict == verdict for figures in found):
            return code
    return ExitCode.SLO_MISSED if any(figures.slo_missed for figures in found) else ExitCode.OK


class SweepProgress:
    """A line for every cell that ends; on a terminal also one that moves."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._moves = stream.isatty()
        self._told: tuple[CellStatus, ...] | None = None
        self._trouble = ""

    def show(self, state: SweepState) -> None:
        """The newest snapshot."""
        statuses = tuple(one.status for one in state.cells)
        before = self._told or statuses
        self._told = statuses
        for one, was in zip(state.cells, before, strict=True):
            if one.status is not was and one.status in (CellStatus.DONE, CellStatus.FAILED):
                self.say(ended_line(one, state))
        if state.trouble and state.trouble != self._trouble:
            self._trouble = state.trouble
            self.say(f"embedconsole: {state.trouble}")
        if self._moves and not state.ended:
            self._stream.write(f"\r\x1b[K{progress_line(state)[:_LINE_LETTERS]}")
            self._stream.flush()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._stream.write(("\r\x1b[K" if self._moves else "") + text + "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Leaves a clean line behind."""
        if self._moves:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def sweep_once(options: SessionOptions, spec: SweepSpec, *, store: Store | None, resume: bool, as_json: bool) -> int:
    """Sweeps, records, prints, and returns the exit code. Raises StoreError when the sweep cannot be begun."""
    plan = plan_sweep(spec, store, resume=resume)
    progress = SweepProgress(sys.stderr)
    progress.say(announced(plan, resume=resume))
    return asyncio.run(_sweep(options, spec, plan, store, progress, as_json=as_json))


def announced(plan: SweepPlan, *, resume: bool) -> str:
    """What is going to happen, and how long that will take."""
    left, name = plan.left, f"sweep {plan.name} ({plan.sweep_id})"
    if not left:
        return f"{name}: all {len(plan.cells)} cells are measured already"
    targets = len({cell.target for cell in left})
    before = f"{len(plan.done)} of {len(plan.cells)} cells are measured already, " if plan.done else ""
    if resume and not plan.done:
        before = f"nothing of a sweep {plan.name!r} to resume, so from the beginning: "
    deployments = f"on {targets} deployment{'s' if targets != 1 else ''}"
    return (
        f"{name}: {before}{len(left)} to measure {deployments}, about"
        f" {duration(expected_s(left, None, switch_s=plan.switch_s))} (more where something has to be prepared first)"
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
    state, stopped_by = await swept(
        options, plan, store, progress, "finishing the running cell; Ctrl+C again stops now and keeps what is there"
    )
    order = spec.cells
    shown = json.dumps(json_object(state, order, interrupted=bool(stopped_by))) if as_json else as_text(state, order)
    print(shown, flush=True)
    if store is not None:
        progress.say(f"recorded: embedconsole runs --sweep {state.sweep_id}{_resumable(state.cells)}")
    return EXIT_BY_SIGNAL + stopped_by if stopped_by else exit_code(state)


async def swept(
    options: SessionOptions,
    plan: SweepPlan,
    store: Store | None,
    progress: SweepProgress,
    finishing: str,
    *,
    shown_as: Callable[[SweepState], SweepState] = lambda state: state,
) -> tuple[SweepState, int]:
    """Sweeps to its end, or until a signal. Returns how it stands, and the first signal's number, 0 without one.

    `finishing`: what the first Ctrl+C says; `shown_as`: the state as progress shows it.
    """
    received: list[signal.Signals] = []
    async with Session(options) as session:
        sweep = Sweep(session, plan, store, lambda state: progress.show(shown_as(state)))

        def interrupt(number: signal.Signals) -> None:
            received.append(number)
            if number is signal.SIGINT and len(received) == 1:
                progress.say(finishing)
                sweep.finish_cell()
            else:
                sweep.stop_now()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, interrupt, number)
        state = await sweep.run()
    progress.clear()
    return state, received[0] if received else 0


def _resumable(cells: Sequence[CellState]) -> str:
    undone = any(one.status is not CellStatus.DONE for one in cells)
    return "; the same command with --resume measures what is missing" if undone else ""
