"""The actions of Sweep, Runs and Compare. Nothing here draws."""

from console.actions.action import COMPARE, RUNS, SWEEP, Action, Availability
from console.actions.cli_form import (
    compare_command,
    gate_command,
    replay_command,
    report_command,
    runs_command,
    sweep_command,
)
from console.model.frame import Frame
from console.model.modes import MAX_COMPARED_RUNS, SweepStage

SWEEP_ONLY = frozenset({SWEEP})
RUNS_ONLY = frozenset({RUNS})
COMPARE_ONLY = frozenset({COMPARE})
STORED = frozenset({SWEEP, RUNS, COMPARE})


def not_while_sweeping(otherwise: Availability) -> Availability:
    """What would disturb a measurement waits until the sweep has ended."""

    def unavailable(frame: Frame) -> str | None:
        if frame.experiments.sweep_stage.active:
            return "A sweep has the engine: {mode_sweep} shows it, and {sweep_stop} there ends it"
        return otherwise(frame)

    return unavailable


def _sweep_new(frame: Frame) -> str | None:
    return "A sweep is running: {sweep_stop} ends it first" if frame.experiments.sweep_stage.active else None


def _sweep_pause(frame: Frame) -> str | None:
    match frame.experiments.sweep_stage:
        case SweepStage.RUNNING | SweepStage.PAUSED:
            return None
        case SweepStage.ENDING:
            return "The sweep is ending already: wait for its running cell"
        case _:
            return "No sweep is running: {sweep_new} begins one"


def _sweep_stop(frame: Frame) -> str | None:
    return None if frame.experiments.sweep_stage.active else "No sweep is running: {sweep_new} begins one"


def _sweep_skip(frame: Frame) -> str | None:
    if not frame.experiments.sweep_stage.active:
        return "No sweep is running: {sweep_new} begins one"
    return (
        None
        if frame.experiments.selected_cell_skippable
        else "Only a cell that is still waiting can be skipped: choose one"
    )


def _sweep_open(frame: Frame) -> str | None:
    return (
        None
        if frame.experiments.selected_cell_run_id
        else "This cell has not been measured yet: choose one with figures"
    )


def _a_run(frame: Frame) -> str | None:
    return (
        None
        if frame.experiments.selected_run_id
        else "No run is chosen: {mode_sweep} measures some, {run_filter} changes the filter"
    )


def _run_mark(frame: Frame) -> str | None:
    at = frame.experiments
    if len(at.compared_run_ids) >= MAX_COMPARED_RUNS and at.selected_run_id not in at.compared_run_ids:
        return f"{MAX_COMPARED_RUNS} runs are marked already: {{run_mark}} on one of them takes its mark away"
    return _a_run(frame)


def _two_runs(frame: Frame) -> str | None:
    return (
        None
        if len(frame.experiments.compared_run_ids) > 1
        else "Nothing is compared yet: {mode_runs} lists runs, {run_mark} marks them"
    )


def _one_run(frame: Frame) -> str | None:
    return (
        None
        if frame.experiments.compared_run_ids
        else "Nothing is compared yet: {mode_runs} lists runs, {run_mark} marks them"
    )


def _sweep_pause_or_go_on(frame: Frame) -> str:
    return "Go on" if frame.experiments.sweep_stage is SweepStage.PAUSED else "Pause"


SWEEP_ACTIONS = (
    Action(
        "sweep_new",
        ("n",),
        "Choose and start a sweep",
        "A preset or a file, with its cells and how long they take",
        "Sweep",
        short="New sweep",
        bar_rank=3,
        modes=SWEEP_ONLY,
        unavailable=_sweep_new,
        cli=sweep_command,
    ),
    Action(
        "sweep_pause",
        ("p",),
        "Pause or go on",
        "After the running cell, which is measured to its end",
        "Sweep",
        short="Pause",
        bar_rank=4,
        modes=SWEEP_ONLY,
        unavailable=_sweep_pause,
        label=_sweep_pause_or_go_on,
    ),
    Action(
        "sweep_skip",
        ("x",),
        "Skip the cell",
        "The one under the cursor, while it waits",
        "Sweep",
        short="Skip cell",
        bar_rank=5,
        modes=SWEEP_ONLY,
        unavailable=_sweep_skip,
    ),
    Action(
        "sweep_stop",
        ("X",),
        "Stop the sweep",
        "After the running cell or at once; what is measured is kept",
        "Sweep",
        short="Stop",
        bar_rank=6,
        modes=SWEEP_ONLY,
        unavailable=_sweep_stop,
    ),
    Action(
        "sweep_open",
        ("enter",),
        "Open the cell's run",
        "All that the store knows of it",
        "Sweep",
        short="Open",
        bar_rank=7,
        modes=SWEEP_ONLY,
        unavailable=_sweep_open,
    ),
    Action(
        "sweep_values",
        ("v",),
        "Other figures in the matrix",
        "texts/s, p95, and both where there is room",
        "Sweep",
        short="Figures",
        bar_rank=8,
        modes=SWEEP_ONLY,
    ),
)

RUNS_ACTIONS = (
    Action(
        "run_open",
        ("enter",),
        "Open the run",
        "Figures, verdicts, configuration, environment, notes",
        "Runs",
        short="Open",
        bar_rank=3,
        modes=RUNS_ONLY,
        unavailable=_a_run,
        cli=runs_command,
    ),
    Action(
        "run_replay",
        ("R",),
        "Replay the run",
        "Through a Live screen of its own, at ×1 to ×60; the live engine goes on",
        "Runs",
        short="Replay",
        bar_rank=10,
        modes=RUNS_ONLY,
        unavailable=_a_run,
        cli=replay_command,
    ),
    Action(
        "run_filter",
        ("/",),
        "Filter the runs",
        "Words that must all be in the line: int8 ok #main -failed",
        "Runs",
        short="Filter",
        bar_rank=4,
        modes=RUNS_ONLY,
    ),
    Action(
        "run_mark",
        ("space",),
        "Mark the run to compare it",
        "Two to four; the first one is the baseline",
        "Runs",
        short="Mark",
        bar_rank=5,
        modes=RUNS_ONLY,
        unavailable=_run_mark,
    ),
    Action(
        "run_compare",
        ("c",),
        "Compare the marked runs",
        "Side by side, in mode 4",
        "Runs",
        short="Compare",
        bar_rank=6,
        modes=RUNS_ONLY,
        unavailable=_two_runs,
        cli=compare_command,
    ),
    Action(
        "run_tag",
        ("#",),
        "Tag the run",
        "Names to find it by; -name takes one away",
        "Runs",
        short="Tag",
        bar_rank=7,
        modes=RUNS_ONLY,
        unavailable=_a_run,
    ),
    Action(
        "run_note",
        ("n",),
        "Write a note",
        "It is kept with the run",
        "Runs",
        short="Note",
        bar_rank=8,
        modes=RUNS_ONLY,
        unavailable=_a_run,
    ),
    Action(
        "run_gate",
        ("a",),
        "Hold the run against conditions",
        "As p95<120ms or texts_per_s>-5%@main: which of them hold",
        "Runs",
        short="Gate",
        bar_rank=10,
        modes=RUNS_ONLY,
        unavailable=_a_run,
        cli=gate_command,
    ),
    Action(
        "report",
        ("W",),
        "Write a report",
        "A page of results: of the marked runs, else of the last sweep",
        "Runs",
        short="Report",
        bar_rank=13,
        modes=STORED,
        cli=report_command,
    ),
    Action(
        "run_delete",
        ("d", "delete"),
        "Delete the run",
        "With its intervals, notes and tags; asks first",
        "Runs",
        short="Delete",
        bar_rank=9,
        modes=RUNS_ONLY,
        unavailable=_a_run,
    ),
    Action(
        "run_reload",
        ("r",),
        "Read the store again",
        "What other programs have measured meanwhile",
        "Runs",
        short="Reload",
        bar_rank=12,
        modes=RUNS_ONLY,
    ),
)

COMPARE_ACTIONS = (
    Action(
        "compare_baseline",
        ("b",),
        "Make it the baseline",
        "The others are compared with the run under the cursor",
        "Compare",
        short="Baseline",
        bar_rank=3,
        modes=COMPARE_ONLY,
        unavailable=_two_runs,
    ),
    Action(
        "compare_remove",
        ("x",),
        "Take the run out",
        "Of the comparison; it stays in the store",
        "Compare",
        short="Take out",
        bar_rank=4,
        modes=COMPARE_ONLY,
        unavailable=_one_run,
    ),
    Action(
        "compare_open",
        ("enter",),
        "Open the run",
        "The one under the cursor",
        "Compare",
        short="Open",
        bar_rank=5,
        modes=COMPARE_ONLY,
        unavailable=_one_run,
    ),
    Action(
        "compare_same",
        ("v",),
        "Show or hide what is equal",
        "In the configuration",
        "Compare",
        short="Equal rows",
        bar_rank=6,
        modes=COMPARE_ONLY,
    ),
)
