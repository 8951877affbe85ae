"""Help towards a command or a run: the command that was probably meant, and the names of runs for shell completion."""

import difflib

import click
import cloup

_OTHER_PROGRAMS = {
    "live": "compare --live",
    "console": "embedconsole --start",
    "start": "embedconsole --start",
    "serve": "engine serve",
    "capabilities": "engine capabilities",
    "fidelity": "engine fidelity",
    "export": "engine export",
    "tune": "engine tune",
}
"""Words that users try as commands, and the command that does what they mean."""
_MOST_NAMES = 50


class SuggestingGroup(cloup.Group):
    """A group that answers an unknown command with the nearest one, also if that is a subcommand of another group."""

    def handle_bad_command_name(
        self, bad_name: str, valid_names: list[str], error: click.UsageError
    ) -> click.UsageError:
        """Returns the error with `did you mean`, or as it is if no command is near."""
        path = _path_below_the_program(error.ctx)
        commands = {name: f"{path}{name}" for name in valid_names if not self.commands[name].hidden}
        for name, command in self.commands.items():
            if isinstance(command, click.Group):
                commands |= {below: f"{path}{name} {below}" for below in command.commands if below not in commands}
        meant = commands.get(bad_name) or ("" if path else _OTHER_PROGRAMS.get(bad_name, ""))
        if not meant and (near := difflib.get_close_matches(bad_name, commands, 1)):
            meant = commands[near[0]]
        hint = f": did you mean `{meant}`?" if meant else ""
        return click.UsageError(f"No such command {bad_name!r}{hint}", error.ctx)


def _path_below_the_program(context: click.Context | None) -> str:
    """Returns `runs ` within that group, and an empty string at the top."""
    words = context.command_path.split()[1:] if context is not None else []
    return "".join(f"{word} " for word in words)


def complete_run_names(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Returns `last`, `last-sweep`, and ids and tags of the newest runs that begin so; none without a usable store."""
    from console.store.database import Store, StoreError, store_path
    from console.store.read import LAST, LAST_SWEEP, RunFilter, list_runs

    path = store_path(str(context.params.get("store") or ""))
    names = [LAST, LAST_SWEEP]
    if path.is_file():  # a completion creates no store
        try:
            with Store.open(path, busy_timeout_s=0.2) as store:
                rows = list_runs(store, RunFilter(limit=_MOST_NAMES))
        except StoreError:
            rows = []
        names += [name for row in rows for name in (*row.tags, row.run_id, row.sweep_id)]
    return [name for name in dict.fromkeys(names) if name and name.startswith(begun)]
