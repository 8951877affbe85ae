"""`embedconsole keys`: prints the console's keys as a keymap file. Imports heavy modules only when it runs."""

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
    help="File of key bindings; `embedconsole keys` prints one to edit."
    "  [default: EMBEDCONSOLE_KEYMAP, else keymap.toml in the configuration folder]",
)


def registry_of(keymap: str) -> "Registry":
    """Returns the actions with the keys of `--keymap`. Raises ClickException for an invalid keymap."""
    from console.actions.keymap import KeymapError, keymap_in_force

    try:
        return keymap_in_force(keymap)
    except KeymapError as error:
        raise click.ClickException(str(error)) from error


@cloup.command(
    epilog="""\b
Examples:
  embedconsole keys > keymap.toml                         print all keys to a file; keep the lines that you change
  embedconsole keys --keymap keymap.toml                  check a file, and print the resulting keys
\b
The console reads --keymap FILE, else the file named by EMBEDCONSOLE_KEYMAP, else keymap.toml in your configuration
folder. This command prints that path to stderr.""",
)
@KEYMAP_OPTION
def keys(keymap: str) -> None:
    """Print the key of every action as TOML, by group."""
    from console.actions.keymap import as_toml, keymap_path

    registry = registry_of(keymap)
    click.echo(as_toml(registry), nl=False)
    missing = "" if keymap_path().is_file() else " (does not exist)"
    click.echo(f"your keymap: {keymap_path()}{missing}", err=True)
