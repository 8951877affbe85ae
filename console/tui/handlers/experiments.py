"""What the actions of Sweep, Runs and Compare do. They ask store and sweep through the app's port."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from console.actions.cli_form import GATE_CONDITIONS
from console.model.errors import CommandRefused
from console.model.modes import SweepStage

if TYPE_CHECKING:
    from console.tui.app_port import AppPort
    from console.tui.screens.modes.compare import CompareScreen
    from console.tui.screens.modes.runs import RunsScreen
    from console.tui.screens.modes.sweep import SweepScreen

Perform = Callable[["AppPort"], Awaitable[None]]


def _runs(app: "AppPort") -> "RunsScreen":
    from console.tui.screens.modes.runs import RunsScreen

    if isinstance(app.screen, RunsScreen):
        return app.screen
    raise CommandRefused("This belongs to Runs: {mode_runs} shows it")


def _sweep(app: "AppPort") -> "SweepScreen":
    from console.tui.screens.modes.sweep import SweepScreen

    if isinstance(app.screen, SweepScreen):
        return app.screen
    raise CommandRefused("This belongs to Sweep: {mode_sweep} shows it")


def _compare(app: "AppPort") -> "CompareScreen":
    from console.tui.screens.modes.compare import CompareScreen

    if isinstance(app.screen, CompareScreen):
        return app.screen
    raise CommandRefused("This belongs to Compare: {mode_compare} shows it")


async def open_run(app: "AppPort", run_id: str) -> None:
    """The dialog with all that the store knows of a run."""
    from console.tui.screens.dialogs.run_details import RunDetails

    app.open_dialog(RunDetails(app.frame, app.view, await app.experiments_port.runs.run(run_id)), None)


async def _run_open(app: "AppPort") -> None:
    await open_run(app, app.experiments.selected_run_id)


async def _run_filter(app: "AppPort") -> None:
    _runs(app).open_filter()


async def _run_reload(app: "AppPort") -> None:
    _runs(app).reload()


async def _run_mark(app: "AppPort") -> None:
    at = app.experiments
    kept = tuple(run_id for run_id in at.compared_run_ids if run_id != at.selected_run_id)
    app.update_context(
        compared_run_ids=kept if at.selected_run_id in at.compared_run_ids else (*kept, at.selected_run_id)
    )
    _runs(app).action_move(1)


async def _run_compare(app: "AppPort") -> None:
    await app.go_to("compare")


async def _run_tag(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import TextDialog

    screen, run_id = _runs(app), app.experiments.selected_run_id
    has = screen.here.row.tags if screen.here is not None else ()
    about = f"Tags of {run_id}: {' '.join(has) or 'none yet'}. Names with spaces between them; -name takes one away."

    async def write(text: str) -> None:
        names = text.replace("#", "").split()
        add = [name for name in names if not name.startswith("-")]
        await app.experiments_port.runs.tag(run_id, add, [name[1:] for name in names if name.startswith("-")])
        screen.reload()

    app.open_dialog(
        TextDialog(app.frame, app.view, "tag", about), lambda text: app.command(write(text)) if text else None
    )


async def _run_note(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import TextDialog

    screen, run_id = _runs(app), app.experiments.selected_run_id

    async def write(text: str) -> None:
        await app.experiments_port.runs.note(run_id, text)
        app.show_message(f"Noted with {run_id}")
        screen.reload()

    about = f"A note on {run_id}. Notes are added to, never replaced."
    app.open_dialog(
        TextDialog(app.frame, app.view, "note", about), lambda text: app.command(write(text)) if text else None
    )


async def _run_delete(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import ConfirmDialog

    screen, run_id = _runs(app), app.experiments.selected_run_id

    async def delete() -> None:
        await app.experiments_port.runs.delete((run_id,))
        app.update_context(compared_run_ids=tuple(kept for kept in app.experiments.compared_run_ids if kept != run_id))
        app.show_message(f"Deleted {run_id}")
        screen.reload()

    about = "With its intervals, events, notes and tags. There is no way back."
    app.open_dialog(
        ConfirmDialog(app.frame, app.view, "delete", f"Delete {run_id} for good?", about, "delete"),
        lambda yes: app.command(delete()) if yes else None,
    )


async def _run_gate(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import TextDialog
    from console.tui.screens.dialogs.read import ReadDialog

    run_id = app.experiments.selected_run_id

    async def judge(conditions: str) -> None:
        with_keys = await app.experiments_port.runs.gate(run_id, conditions.split())
        app.open_dialog(ReadDialog(app.frame, app.view, "gate", with_keys), None)

    about = f"What {run_id} must keep, with spaces between: FIGURE, one of < <= > >=, a value or a change @BASELINE."
    app.open_dialog(
        TextDialog(app.frame, app.view, "gate", about, " ".join(GATE_CONDITIONS)),
        lambda text: app.command(judge(text)) if text else None,
    )


async def _sweep_new(app: "AppPort") -> None:
    from console.tui.screens.dialogs.sweep_start import SweepChoice, SweepDialog

    def chosen(choice: SweepChoice | None) -> None:
        if choice is not None:
            app.begin_sweep(choice.source, resume=choice.resume)

    sweeps = app.experiments_port.sweeps
    app.open_dialog(SweepDialog(app.frame, app.view, sweeps.presets, sweeps.offer), chosen)


async def _sweep_pause(app: "AppPort") -> None:
    sweeps = app.experiments_port.sweeps
    if app.experiments.sweep_stage is SweepStage.PAUSED:
        sweeps.resume()
    else:
        sweeps.pause()


async def _sweep_skip(app: "AppPort") -> None:
    if (place := _sweep(app).place) is not None:
        app.experiments_port.sweeps.skip(place)


async def _sweep_stop(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import ChoiceDialog

    def chosen(answer: str | None) -> None:
        sweeps = app.experiments_port.sweeps
        if answer == "a":
            sweeps.finish_point()
        elif answer == "o":
            sweeps.stop_now()

    choices = (
        ("a", "After this cell", "it is measured to its end"),
        ("o", "At once", "what it has measured so far is kept"),
        ("c", "Cancel", "go on"),
    )
    question = "When shall the sweep end? What is measured is kept, and resume goes on with the rest."
    app.open_dialog(ChoiceDialog(app.frame, app.view, "stop the sweep", question, choices), chosen)


async def _sweep_open(app: "AppPort") -> None:
    await open_run(app, app.experiments.selected_cell_run_id)


async def _sweep_values(app: "AppPort") -> None:
    _sweep(app).next_values()


async def _compare_baseline(app: "AppPort") -> None:
    at = app.experiments
    app.update_context(
        compared_run_ids=(
            at.selected_compared_run_id,
            *(run_id for run_id in at.compared_run_ids if run_id != at.selected_compared_run_id),
        )
    )
    _compare(app).action_move(-len(at.compared_run_ids))


async def _compare_remove(app: "AppPort") -> None:
    at = app.experiments
    app.update_context(
        compared_run_ids=tuple(run_id for run_id in at.compared_run_ids if run_id != at.selected_compared_run_id)
    )


async def _compare_open(app: "AppPort") -> None:
    await open_run(app, app.experiments.selected_compared_run_id)


async def _compare_same(app: "AppPort") -> None:
    _compare(app).toggle_equal_rows()


PERFORM: dict[str, Perform] = {
    "sweep_new": _sweep_new,
    "sweep_pause": _sweep_pause,
    "sweep_skip": _sweep_skip,
    "sweep_stop": _sweep_stop,
    "sweep_open": _sweep_open,
    "sweep_values": _sweep_values,
    "run_open": _run_open,
    "run_filter": _run_filter,
    "run_mark": _run_mark,
    "run_compare": _run_compare,
    "run_tag": _run_tag,
    "run_note": _run_note,
    "run_delete": _run_delete,
    "run_gate": _run_gate,
    "run_reload": _run_reload,
    "compare_baseline": _compare_baseline,
    "compare_remove": _compare_remove,
    "compare_open": _compare_open,
    "compare_same": _compare_same,
}
