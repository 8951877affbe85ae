"""Small JSON files in the user's cache, which any number of processes share.

They hold what can be measured or computed again: a damaged file or entry is as good as none.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

LOCK_TIMEOUT_S = 5.0
"""A writer holds the lock for milliseconds. One that holds it for longer was stopped."""


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file; empty when it is missing, damaged or cannot be read."""
    try:
        return _read(path)
    except OSError:
        return {}


def rows_in(found: Mapping[str, Any], section: str, file_format: int) -> dict[str, Any]:
    """The entries of a section by their keys; none when the file is of another format or the section is damaged."""
    rows = found.get(section)
    return dict(rows) if found.get("format") == file_format and isinstance(rows, dict) else {}


def replace_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the file in one step, so that a reader finds the old or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def update_json(path: Path, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Replaces the object in the file by what `change` makes of it, while no other process does.

    Raises OSError when the file cannot be read or written, or when its lock is not to be had within LOCK_TIMEOUT_S: the
    file is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
            replace_json(path, change(_read(path)))
    except NotImplementedError as error:  # what FileLock raises where a file system has no locks
        raise OSError(f"{path.name} cannot be locked: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    """Raises OSError for a file that is there and cannot be read: it must not be taken for an empty one."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):  # damaged
        return {}
    return found if isinstance(found, dict) else {}
