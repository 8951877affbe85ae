"""The handler of the action on the run that is recorded from Live."""

from typing import TYPE_CHECKING

from console.tui.handlers.handler import Handler

if TYPE_CHECKING:
    from console.model.recording import LiveRecording
    from console.tui.app_port import AppPort


async def _ask(app: "AppPort") -> None:
    from console.tui.screens.dialogs.ask import ChoiceDialog

    recording = app.frame.experiments.recording

    def on_answer(answer: str | None) -> None:
        if answer == "n":
            _ask_name(app, recording)
        elif answer == "k":
            app.command(_keep(app))
        elif answer == "d":
            app.command(_discard(app))

    now = "when the load stops" if recording.running else "now; this cannot be undone"
    choices = (
        ("n", "Name", f"a tag; now #{recording.name}" if recording.name else "a tag that finds it in Runs"),
        ("k", "Keep", "the default"),
        ("d", "Discard", f"delete it {now}"),
        ("c", "Cancel", "back to the console"),
    )
    state = "is being recorded" if recording.running else "is recorded"
    state += ", and will be discarded" if recording.discarded else ""
    question = f"{recording.run_id} {state}."
    app.open_dialog(ChoiceDialog(app.frame, app.view, "recorded run", question, choices), on_answer)


def _ask_name(app: "AppPort", recording: "LiveRecording") -> None:
    from console.tui.screens.dialogs.ask import TextDialog

    about = f"Name of {recording.run_id}: a tag, such as int8-baseline. Commands and the filter of Runs find it."
    app.open_dialog(
        TextDialog(app.frame, app.view, "name the run", about, recording.name),
        lambda text: app.command(_name(app, text)) if text else None,
    )


async def _name(app: "AppPort", text: str) -> None:
    live = app.experiments_port.live
    await live.name(text)
    app.show_message(f"{live.state.run_id} is named #{live.state.name}")


async def _keep(app: "AppPort") -> None:
    live = app.experiments_port.live
    await live.keep()
    app.show_message(f"{live.state.run_id} is kept")


async def _discard(app: "AppPort") -> None:
    live = app.experiments_port.live
    await live.discard()
    if live.state.running:
        app.show_message(f"{live.state.run_id} is deleted when the load stops. {{live_run}} keeps it")


HANDLERS: dict[str, Handler] = {"live_run": _ask}
