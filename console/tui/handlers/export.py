"""The export: which form, into which file; what is written is what the screen shows, filter included."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.model.errors import CommandRefused

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

REPORTS = ("html", "md", "json", "csv")
FORMS = {"j": "json", "c": "csv", "s": "svg"}


async def export(app: "AppPort") -> None:
    """Asks for the form, then for the file."""
    from console.tui.screens.dialogs.ask import ChoiceDialog

    choices = (
        ("j", "JSON", "an array of objects, for programs"),
        ("c", "CSV", "a line each, for a spreadsheet"),
        ("s", "SVG", "the screen as a picture"),
    )
    question = "Export what is shown, filter included, as"
    app.open_dialog(
        ChoiceDialog(app.frame, app.view, "export", question, choices),
        lambda letter: _ask_where(app, FORMS[letter]) if letter else None,
    )


def _ask_where(app: "AppPort", form: str) -> None:
    from console.tui.screens.dialogs.ask import TextDialog

    name = f"embedconsole-{app.current_mode}-{datetime.now(UTC):%Y%m%d-%H%M%S}.{form}"
    about = f"The file, from {Path.cwd()}. One that is there already is not written over."

    def chosen(path: str | None) -> None:
        if path:
            # when the dialog has gone, so that a picture shows the screen and not the question
            app.call_after_refresh(lambda: app.command(_write(app, form, Path(path).expanduser())))

    app.open_dialog(TextDialog(app.frame, app.view, f"export as {form.upper()}", about, name), chosen)


async def _write(app: "AppPort", form: str, path: Path) -> None:
    text = app.export_screenshot(title="embedconsole") if form == "svg" else _text(app, form)
    _put(path, text, "export")
    app.show_message(str(path), title="Exported", timeout=10)


def _put(path: Path, text: str, action_id: str) -> None:
    """A new file. Raises CommandRefused, with the key of the action for another try."""
    again = f"{{{action_id}}} again, with another"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise CommandRefused(f"{path} is there already: {again} name") from None
    except OSError as error:
        raise CommandRefused(f"{path} cannot be written ({error.strerror}): {again} place") from error


async def report(app: "AppPort") -> None:
    """Asks for the file; its ending says the form."""
    from console.tui.screens.dialogs.ask import TextDialog

    marked = app.experiments.compared_run_ids
    name = f"embedconsole-report-{datetime.now(UTC):%Y%m%d-%H%M%S}.html"
    what = f"{len(marked)} marked runs" if marked else "the last sweep, or of the last run; marked runs go before it"
    about = f"Of {what}. The ending says the form: {', '.join(REPORTS)}. From {Path.cwd()}."

    def chosen(path: str | None) -> None:
        if path:
            app.command(_report(app, Path(path).expanduser()))

    app.open_dialog(TextDialog(app.frame, app.view, "report", about, name), chosen)


async def _report(app: "AppPort", path: Path) -> None:
    form = path.suffix.lstrip(".").lower()
    if form not in REPORTS:
        raise CommandRefused(f"{path} ends in none of {', '.join(REPORTS)}: {{report}} again, with another name")
    text = await app.experiments_port.runs.report(app.experiments.compared_run_ids, form)
    _put(path, text, "report")
    app.show_message(str(path), title="Report written", timeout=10)


def _text(app: "AppPort", form: str) -> str:
    from console.output.export import as_csv, as_json

    shown: list[dict[str, Any]] = getattr(app.screen, "exported", list)()
    if not shown:
        raise CommandRefused("Nothing is shown that could be exported: SVG takes the screen as it is")
    return as_json(shown) if form == "json" else as_csv(shown)
