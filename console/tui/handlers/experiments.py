"""Handlers of Sweep, Runs and Compare. They use the store and the sweeps through the app's experiments port."""

from typing import TYPE_CHECKING

from console.actions.cli_form import GATE_CONDITIONS
from console.model.errors import CommandRefused
from console.model.modes import SweepStage
from console.tui.handlers.handler import Handler

if TYPE_CHECKING:
    from console.tui.app_port import AppPort
    from console.tui.screens.modes.compare import CompareScreen
    from console.tui.screens.modes.runs import RunsScreen
    from console.tui.screens.modes.sweep import SweepScreen


def _runs_screen(app: "AppPort") -> "RunsScreen":
    from console.tui.screens.modes.runs import RunsScreen

    if isinstance(app.screen, RunsScreen):
        return app.screen
    raise CommandRefused("This works on the Runs screen: {mode_runs} opens it")


def _sweep_screen(app: "AppPort") -> "SweepScreen":
    from console.tui.screens.modes.sweep import SweepScreen

    if isinstance(app.screen, SweepScreen):
        return app.screen
    raise CommandRefused("This works on the Sweep screen: {mode_sweep} opens it")


def _compare_screen(app: "AppPort") -> "CompareScreen":
    from console.tui.screens.modes.compare import CompareScreen

    if isinstance(app.screen, CompareScreen):
        return app.screen
    raise CommandRefused("This works on the Compare screen: {mode_compare} opens it")


async def open_run(app: "AppPort", run_id: str) -> None:
    """Opens the dialog with everything that the store has of a run."""
    from console.tui.screens.dialogs.run_details import RunDetails

    app.open_dialog(RunDetails(app.frame, app.view, await app.experiments_port.runs.run(run_id)), None)


async def _run_open(app: "AppPort") -> None:
    await open_run(app, app.experiments.selected_run_id)


async def _run_filter(app: "AppPort") -> None:
    _runs_screen(app).open_filter()


async def _run_reload(app: "AppPort") -> None:
    _runs_screen(app).reload()


async def _run_mark(app: "AppPort") -> None:
    context = app.experiments
    others = tuple(run_id for run_id in context.compared_run_ids if run_id != context.selected_run_id)
    marked = context.selected_run_id in context.compared_run_ids
    app.update_context(compared_run_ids=others if marked else (*others, context.selected_run_id))
    _runs_screen(app).action_move(1)


async def _run_compare(app: "AppPort") -> None:
    await app.go_to("compare")


async def _run_tag(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import TextDialog

    screen, run_id = _runs_screen(app), app.experiments.selected_run_id
    tags = screen.selected.row.tags if screen.selected is not None else ()
    about = f"Tags of {run_id}: {' '.join(tags) or 'none yet'}. Separate names with spaces; -name removes a tag."

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

    screen, run_id = _runs_screen(app), app.experiments.selected_run_id

    async def write(text: str) -> None:
        await app.experiments_port.runs.note(run_id, text)
        app.show_message(f"Note added to {run_id}")
        screen.reload()

    about = f"Note on {run_id}. It is added to the notes that are there."
    app.open_dialog(
        TextDialog(app.frame, app.view, "note", about), lambda text: app.command(write(text)) if text else None
    )


async def _run_delete(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import ConfirmDialog

    screen, run_id = _runs_screen(app), app.experiments.selected_run_id

    async def delete() -> None:
        await app.experiments_port.runs.delete((run_id,))
        app.update_context(
            compared_run_ids=tuple(other for other in app.experiments.compared_run_ids if other != run_id)
        )
        app.show_message(f"Deleted {run_id}")
        screen.reload()

    about = "Deletes its intervals, events, notes and tags too. This cannot be undone."
    app.open_dialog(
        ConfirmDialog(app.frame, app.view, "delete", f"Delete {run_id}?", about, "delete"),
        lambda yes: app.command(delete()) if yes else None,
    )


async def _run_gate(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import TextDialog
    from console.tui.screens.dialogs.read import ReadDialog

    run_id = app.experiments.selected_run_id

    async def check(conditions: str) -> None:
        result = await app.experiments_port.runs.gate(run_id, conditions.split())
        app.open_dialog(ReadDialog(app.frame, app.view, "gate", result), None)

    about = f"Gate: conditions to check on {run_id}, e.g. p95<120ms texts_per_s>-5%@BASELINE"
    app.open_dialog(
        TextDialog(app.frame, app.view, "gate", about, " ".join(GATE_CONDITIONS)),
        lambda text: app.command(check(text)) if text else None,
    )


async def _sweep_new(app: "AppPort") -> None:
    from console.tui.screens.dialogs.sweep_start import SweepChoice, SweepDialog

    def on_answer(choice: SweepChoice | None) -> None:
        if choice is not None:
            app.begin_sweep(choice.source, resume=choice.resume)

    sweeps = app.experiments_port.sweeps
    app.open_dialog(SweepDialog(app.frame, app.view, sweeps.presets, sweeps.offer), on_answer)


async def _sweep_pause(app: "AppPort") -> None:
    sweeps = app.experiments_port.sweeps
    if app.experiments.sweep_stage is SweepStage.PAUSED:
        sweeps.resume()
    else:
        sweeps.pause()


async def _sweep_skip(app: "AppPort") -> None:
    if (index := _sweep_screen(app).cell_index) is not None:
        app.experiments_port.sweeps.skip(index)


async def _sweep_stop(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import ChoiceDialog

    def on_answer(answer: str | None) -> None:
        sweeps = app.experiments_port.sweeps
        if answer == "a":
            sweeps.finish_point()
        elif answer == "o":
            sweeps.stop_now()

    choices = (
        ("a", "After this cell", "completes the running cell"),
        ("o", "Now", "keeps the partial cell"),
        ("c", "Cancel", "back to the sweep"),
    )
    question = "Stop the sweep? Measured cells are kept, and a resumed sweep runs the rest."
    app.open_dialog(ChoiceDialog(app.frame, app.view, "stop the sweep", question, choices), on_answer)


async def _sweep_open(app: "AppPort") -> None:
    await open_run(app, app.experiments.selected_cell_run_id)


async def _sweep_values(app: "AppPort") -> None:
    _sweep_screen(app).next_values()


async def _compare_baseline(app: "AppPort") -> None:
    context = app.experiments
    others = (run_id for run_id in context.compared_run_ids if run_id != context.selected_compared_run_id)
    app.update_context(compared_run_ids=(context.selected_compared_run_id, *others))
    _compare_screen(app).action_move(-len(context.compared_run_ids))


async def _compare_remove(app: "AppPort") -> None:
    context = app.experiments
    app.update_context(
        compared_run_ids=tuple(
            run_id for run_id in context.compared_run_ids if run_id != context.selected_compared_run_id
        )
    )


async def _compare_open(app: "AppPort") -> None:
    await open_run(app, app.experiments.selected_compared_run_id)


async def _compare_same(app: "AppPort") -> None:
    _compare_screen(app).toggle_equal_rows()


HANDLERS: dict[str, Handler] = {
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
