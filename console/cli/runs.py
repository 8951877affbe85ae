"""`embedconsole runs`: lists and edits stored runs. Imports heavy modules only when it runs."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup
from cloup import option, option_group

from console.cli.console import FRESH_OPTION, open_console, refuse_without_terminal
from console.cli.keys import KEYMAP_OPTION, registry_of
from console.cli.suggestions import SuggestingGroup, complete_run_names
from console.model.durations import parse_duration_s
from console.model.modes import REPLAY_SPEEDS

if TYPE_CHECKING:
    from console.store.database import Store

_LISTED_AT_MOST = 50
_DAY_S = 86_400.0

STORE_OPTION = option(
    "--store",
    default="",
    metavar="FILE",
    help="Experiment store.  [default: EMBEDCONSOLE_STORE, else runs.sqlite in the data folder]",
)
STORE_OPTIONS = option_group("Storage", STORE_OPTION, option("--no-store", is_flag=True, help="Record nothing."))
VERDICTS = ("ok", "too_short", "unstable", "errors", "client_bound", "failed", "unfinished", "running")


def store_of(flags: dict[str, Any]) -> "Store | None":
    """Returns the store to record into, from the values of `STORE_OPTIONS`; None to record nothing.

    Raises ClickException if a store named by --store cannot be opened.
    """
    from console.measure.recorder import open_store
    from console.store.database import StoreError

    if flags["no_store"]:
        return None
    try:
        return open_store(flags["store"], lambda text: click.echo(f"embedconsole: {text}", err=True))
    except StoreError as error:
        raise click.ClickException(f"{error}; --no-store measures without recording") from error


class Since(click.ParamType[str]):
    """A time: `2h` or `7d` ago, or a date or time in ISO 8601, in UTC unless it has an offset, as `runs` prints it."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the time as ISO 8601 in UTC."""
        text = str(value).strip()
        try:
            days = text.endswith("d")
            ago_s = float(text[:-1]) * _DAY_S if days else parse_duration_s(text)
            moment = datetime.now(UTC) - timedelta(seconds=ago_s)
        except (ValueError, OverflowError):
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                self.fail(
                    f"{value!r} is not a time: write for example 2h, 7d, 2026-11-23 or 2026-11-23T10:30 (UTC)",
                    param,
                    ctx,
                )
            moment = moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}"


class _Store:
    """A store that a command opens when it needs it."""

    def __init__(self, asked: str) -> None:
        self._asked = asked

    def open(self) -> "Store":
        from console.store.database import Store, store_path

        return Store.open(store_path(self._asked))


def _replace_store(context: click.Context, _parameter: click.Parameter, asked: str) -> None:
    if asked:
        context.obj = _Store(asked)


STORE_AFTER_COMMAND = option(
    "--store",
    default="",
    metavar="FILE",
    expose_value=False,
    callback=_replace_store,
    help="Experiment store; may also be given before the subcommand.",
)


class _Group(SuggestingGroup):
    """A group that reports a StoreError as an error of the command line."""

    def invoke(self, ctx: click.Context) -> Any:
        from console.store.database import StoreError

        try:
            return super().invoke(ctx)
        except StoreError as error:
            raise click.ClickException(str(error)) from error


@cloup.group(
    cls=_Group,
    invoke_without_command=True,
    epilog="""\b
Examples:
  embedconsole runs --precision int8 --since 7d
  embedconsole runs sweeps
  embedconsole runs show last
  embedconsole runs replay last --speed 10
  embedconsole runs tag last main
  embedconsole runs pin main last
  embedconsole runs delete r-20261123-101500-3fa2 --yes
\b
A run is named by its id, at least 4 characters from its start or end, or `last`, which is the last run that was
measured. Times are in UTC.""",
)
@option_group(
    "Filter",
    option("--backend", default="", metavar="NAME", help="Effective backend.  [default: any]"),
    option("--precision", default="", metavar="NAME", help="Effective precision.  [default: any]"),
    option("--tag", default="", metavar="NAME", help="Tag.  [default: any]"),
    option("--verdict", type=click.Choice(VERDICTS), default=None, help="Verdict.  [default: any]"),
    option("--sweep", default="", metavar="NAME", help="Id or name of a sweep, or last-sweep.  [default: any]"),
    option(
        "--since",
        type=Since(),
        default=None,
        metavar="TIME",
        help="Age as 2h or 7d, or a time in UTC.  [default: any]",
    ),
    option(
        "--limit",
        type=click.IntRange(0),
        default=_LISTED_AT_MOST,
        show_default=True,
        metavar="N",
        help="Maximum number of runs; 0 lists all.",
    ),
)
@option("--json", "as_json", is_flag=True, help="Print one JSON array to stdout.")
@STORE_OPTION
@click.pass_context
def runs(context: click.Context, /, as_json: bool, store: str, **wanted: Any) -> None:
    """List stored runs, newest first; show, replay, tag, pin, note or delete them."""
    context.obj = _Store(store)
    if context.invoked_subcommand is not None:
        return
    from console.output.runs import as_objects, as_table
    from console.store.database import StoreError
    from console.store.read import RunFilter, list_runs
    from console.store.selectors import find_sweep

    with context.obj.open() as opened:
        if (asked := wanted["sweep"]) and not (found := find_sweep(opened, asked)):
            raise StoreError(f"no sweep is called {asked!r}: `embedconsole runs sweeps` lists them")
        filters = {**wanted, "sweep": found} if asked else wanted
        rows = list_runs(opened, RunFilter(**{name: value for name, value in filters.items() if value}))
        click.echo(json.dumps(as_objects(rows)) if as_json else as_table(rows))
        if not rows and not as_json:
            click.echo(f"in {opened.path}", err=True)
        if rows and len(rows) == wanted["limit"]:
            click.echo(f"the newest {len(rows)}: --limit 0 lists all", err=True)


@runs.command(
    epilog="""\b
Examples:
  embedconsole runs sweeps
  embedconsole runs sweeps --json"""
)
@option("--json", "as_json", is_flag=True, help="Print one JSON array to stdout.")
@STORE_AFTER_COMMAND
@click.pass_obj
def sweeps(store: _Store, as_json: bool) -> None:
    """List stored sweeps, newest first, with the number of measured runs."""
    from console.output.runs import sweeps_table
    from console.store.read import list_sweeps

    with store.open() as opened:
        rows = list_sweeps(opened)
    click.echo(json.dumps([row._asdict() for row in rows]) if as_json else sweeps_table(rows))


@runs.command(
    epilog="""\b
Examples:
  embedconsole runs show last
  embedconsole runs show r-20261123-101500-3fa2 --json"""
)
@click.argument("run_id", metavar="ID", shell_complete=complete_run_names)
@option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
@STORE_AFTER_COMMAND
@click.pass_obj
def show(store: _Store, run_id: str, as_json: bool) -> None:
    """Show a run: figures, verdicts, configuration, environment, notes."""
    from console.output.runs import as_object, as_text
    from console.store.read import load_run, resolve_run

    with store.open() as opened:
        run = load_run(opened, resolve_run(opened, run_id))
    click.echo(json.dumps(as_object(run), ensure_ascii=False) if as_json else as_text(run))


@runs.command(
    epilog="""\b
Examples:
  embedconsole runs replay last
  embedconsole runs replay last --speed 10"""
)
@click.argument("run_id", metavar="ID", shell_complete=complete_run_names)
@option(
    "--speed",
    type=click.FloatRange(REPLAY_SPEEDS[0], REPLAY_SPEEDS[-1]),
    default=REPLAY_SPEEDS[0],
    show_default=True,
    metavar="N",
    help="Seconds of the run per second of real time.",
)
@FRESH_OPTION
@KEYMAP_OPTION
@click.pass_context
def replay(context: click.Context, run_id: str, speed: float, fresh: bool, keymap: str) -> None:
    """Replay a run on the Live screen. No engine is started."""
    from console.store.read import load_run, resolve_run

    registry = registry_of(keymap)
    refuse_without_terminal(context, f"embedconsole runs show {run_id}")
    with context.obj.open() as opened:
        found = resolve_run(opened, run_id)
        if not load_run(opened, found).intervals:
            raise click.ClickException(
                f"{found} has no stored interval: there is nothing to replay, choose another run"
            )
        path = opened.path
    context.exit(open_console(registry, fresh=fresh, store=str(path), replay=(found, speed)))


@runs.command(
    epilog="""\b
Examples:
  embedconsole runs tag last main
  embedconsole runs tag last main --remove"""
)
@click.argument("run_id", metavar="ID", shell_complete=complete_run_names)
@click.argument("names", nargs=-1, required=True, metavar="TAG...")
@option("--remove", is_flag=True, help="Remove the tags instead of adding them.")
@STORE_AFTER_COMMAND
@click.pass_obj
def tag(store: _Store, run_id: str, names: Sequence[str], remove: bool) -> None:
    """Add tags to a run, to filter by or to compare with."""
    from console.store.read import resolve_run
    from console.store.write import add_tags, remove_tags

    with store.open() as opened:
        (remove_tags if remove else add_tags)(opened, resolve_run(opened, run_id), names)


@runs.command(
    epilog="""\b
Examples:
  embedconsole runs pin main last
  embedconsole runs pin main s-20261123-101500-3fa2"""
)
@click.argument("name")
@click.argument("run_ids", nargs=-1, required=True, metavar="ID...", shell_complete=complete_run_names)
@STORE_AFTER_COMMAND
@click.pass_obj
def pin(store: _Store, name: str, run_ids: Sequence[str]) -> None:
    """Move the tag NAME to these runs: a baseline for compare, gate and report. An ID may name a sweep."""
    from console.store.selectors import resolve_selector
    from console.store.write import pin_tag

    with store.open() as opened:
        rows = [row for run_id in run_ids for row in resolve_selector(opened, run_id).rows]
        pin_tag(opened, [row.run_id for row in rows], name)
    click.echo(f"{name} now names {len(rows)} run{'s' if len(rows) != 1 else ''}", err=True)


@runs.command(
    epilog="""\b
Examples:
  embedconsole runs note last 'other work on the machine'"""
)
@click.argument("run_id", metavar="ID", shell_complete=complete_run_names)
@click.argument("text")
@STORE_AFTER_COMMAND
@click.pass_obj
def note(store: _Store, run_id: str, text: str) -> None:
    """Add a note to a run."""
    from console.store.liveness import utc_now
    from console.store.read import resolve_run
    from console.store.write import add_note

    with store.open() as opened:
        add_note(opened, resolve_run(opened, run_id), text, utc_now())


@runs.command(
    epilog="""\b
Examples:
  embedconsole runs restore r-20261123-101500-3fa2.json"""
)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@STORE_AFTER_COMMAND
@click.pass_obj
def restore(store: _Store, path: Path) -> None:
    """Import a run saved outside the store: the file that `run` or `sweep` named when the store failed."""
    from console.store.spill import restore_spill

    with store.open() as opened:
        run_id = restore_spill(opened, path)
    click.echo(f"restored: embedconsole runs show {run_id}; {path} is no longer needed", err=True)


@runs.command(
    epilog="""\b
Examples:
  embedconsole runs delete last
  embedconsole runs delete r-20261123-101500-3fa2 r-20261123-101512-9b1c --yes"""
)
@click.argument("run_ids", nargs=-1, required=True, metavar="ID...", shell_complete=complete_run_names)
@option("--yes", is_flag=True, help="Delete without asking.")
@STORE_AFTER_COMMAND
@click.pass_obj
def delete(store: _Store, run_ids: Sequence[str], yes: bool) -> None:
    """Delete runs with their intervals, notes and tags, after a question."""
    from console.model.verdicts import RUNNING
    from console.store.read import RunFilter, list_runs, resolve_run
    from console.store.write import delete_runs

    with store.open() as opened:
        found = list(dict.fromkeys(resolve_run(opened, run_id) for run_id in run_ids))
        for row in list_runs(opened, RunFilter(verdict=RUNNING)):
            if row.run_id in found:
                raise click.ClickException(f"{row.run_id} is still being measured: wait until it ends, or stop it")
        if not yes:
            click.confirm(f"delete {', '.join(found)} permanently?", abort=True, err=True)
        delete_runs(opened, found)
    click.echo(f"deleted {', '.join(found)}", err=True)
