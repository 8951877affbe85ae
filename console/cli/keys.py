"""`embedconsole keys`: the console's keys as a keymap file. Nothing heavy is imported before it is needed."""

from typing import TYPE_CHECKING

import click
import cloup
from cloup import option

if TYPE_CHECKING:
    from console.actions.registry import Registry

KEYMAP_OPTION = option(
    "--keymap",
    default="",
    metavar="FILE",
    help="Keys of your own; `embedconsole keys` writes one to start from.  [default: EMBEDCONSOLE_KEYMAP, or yours]",
)


def registry_of(keymap: str) -> "Registry":
    """The actions with the keys of `--keymap`. Raises ClickException for a keymap that cannot be used."""
    from console.actions.keymap import KeymapError, keymap_in_force

    try:
        return keymap_in_force(keymap)
    except KeymapError as error:
        raise click.ClickException(str(error)) from error


@cloup.command(
    epilog="""\b
Examples:
  embedconsole keys > keymap.toml                         all of them, to change some and leave out the rest
  embedconsole keys --keymap keymap.toml                  checks the file, and prints what it makes of them
\b
The console reads --keymap FILE, else the file named by EMBEDCONSOLE_KEYMAP, else keymap.toml in your configuration
folder, which this command names on stderr.""",
)
@KEYMAP_OPTION
def keys(keymap: str) -> None:
    """Print the keys in force as TOML: every action with its key, by group."""
    from console.actions.keymap import as_toml, keymap_path

    registry = registry_of(keymap)
    click.echo(as_toml(registry), nl=False)
    click.echo(f"your own keymap: {keymap_path()}{'' if keymap_path().is_file() else ' (not there)'}", err=True)
