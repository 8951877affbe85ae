"""Handlers of export and report: they ask for format and file, and write what the screen shows, filter applied."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from console.model.errors import CommandRefused
from console.tui.screens.protocols import ExportsRows

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

REPORT_FORMATS = ("html", "md", "json", "csv")
FORMATS = {"j": "json", "c": "csv", "s": "svg"}
"""Export format by the letter that chooses it."""


async def export(app: "AppPort") -> None:
    """Asks for the format, then for the file."""
    from console.tui.screens.dialogs.ask import ChoiceDialog

    choices = (
        ("j", "JSON", "an array of objects, for programs"),
        ("c", "CSV", "one line per row, for a spreadsheet"),
        ("s", "SVG", "the screen as a picture"),
    )
    question = "Export what is shown, filter applied, as"
    app.open_dialog(
        ChoiceDialog(app.frame, app.view, "export", question, choices),
        lambda letter: _ask_for_file(app, FORMATS[letter]) if letter else None,
    )


def _ask_for_file(app: "AppPort", file_format: str) -> None:
    from console.tui.screens.dialogs.ask import TextDialog

    name = f"embedconsole-{app.current_mode}-{datetime.now(UTC):%Y%m%d-%H%M%S}.{file_format}"
    about = f"File (in {Path.cwd()}); existing files are kept"

    def on_answer(path: str | None) -> None:
        if path:
            # after the dialog has closed, so that an SVG shows the screen and not the dialog
            app.call_after_refresh(lambda: app.command(_export(app, file_format, Path(path).expanduser())))

    app.open_dialog(TextDialog(app.frame, app.view, f"export as {file_format.upper()}", about, name), on_answer)


async def _export(app: "AppPort", file_format: str, path: Path) -> None:
    text = app.export_screenshot(title="embedconsole") if file_format == "svg" else _rows_as(app, file_format)
    _write_new(path, text, "export")
    app.show_message(str(path), title="Exported", timeout=10)


def _write_new(path: Path, text: str, action_id: str) -> None:
    """Writes a new file. Raises CommandRefused that names the key of the action for another try."""
    again = f"{{{action_id}}} again, with another"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise CommandRefused(f"{path} exists already: {again} name") from None
    except OSError as error:
        raise CommandRefused(f"{path} cannot be written ({error.strerror}): {again} folder") from error


async def report(app: "AppPort") -> None:
    """Asks for the file; its extension decides the format."""
    from console.tui.screens.dialogs.ask import TextDialog

    marked = app.experiments.compared_run_ids
    name = f"embedconsole-report-{datetime.now(UTC):%Y%m%d-%H%M%S}.html"
    what = (
        f"Report on {len(marked)} marked run{'s' if len(marked) > 1 else ''}"
        if marked
        else "Uses the marked runs, else the last sweep, else the last run"
    )
    about = f"{what}. Format by extension ({', '.join(REPORT_FORMATS)}). Saved in {Path.cwd()}"

    def on_answer(path: str | None) -> None:
        if path:
            app.command(_write_report(app, Path(path).expanduser()))

    app.open_dialog(TextDialog(app.frame, app.view, "report", about, name), on_answer)


async def _write_report(app: "AppPort", path: Path) -> None:
    file_format = path.suffix.lstrip(".").lower()
    if file_format not in REPORT_FORMATS:
        raise CommandRefused(
            f"The extension of {path} is none of {', '.join(REPORT_FORMATS)}: {{report}} again, with another name"
        )
    text = await app.experiments_port.runs.report(app.experiments.compared_run_ids, file_format)
    _write_new(path, text, "report")
    app.show_message(str(path), title="Report written", timeout=10)


def _rows_as(app: "AppPort", file_format: str) -> str:
    from console.output.export import as_csv, as_json

    screen = app.screen
    rows = screen.export_rows() if isinstance(screen, ExportsRows) else []
    if not rows:
        raise CommandRefused("This screen has no rows to export: choose SVG to save it as a picture")
    return as_json(rows) if file_format == "json" else as_csv(rows)
