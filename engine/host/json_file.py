"""Small JSON files in the user's cache, shared between processes.

They hold values that can be measured or computed again: a damaged file or entry is treated as missing.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

LOCK_TIMEOUT_S = 5.0
"""A writer holds the lock for milliseconds. One that holds it for longer is suspended."""


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in the file; an empty one if the file is missing, damaged or unreadable."""
    try:
        return _read(path)
    except OSError:
        return {}


def rows_in(content: Mapping[str, Any], section: str, file_format: int) -> dict[str, Any]:
    """Returns the entries of a section by key; none if the file has another format or the section is damaged."""
    rows = content.get(section)
    return dict(rows) if content.get("format") == file_format and isinstance(rows, dict) else {}


def replace_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replaces the file atomically: a reader sees the old or the new content. Raises OSError."""
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
    """Replaces the object in the file by the result of `change`, under a lock between processes.

    Raises OSError when the file cannot be read or written, or when the lock is not free within LOCK_TIMEOUT_S. The file
    is then unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
            replace_json(path, change(_read(path)))
    except NotImplementedError as error:  # raised by FileLock on file systems without locks
        raise OSError(f"{path.name} cannot be locked: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    """Raises OSError when an existing file cannot be read, so that it is not mistaken for an empty one."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):  # damaged
        return {}
    return content if isinstance(content, dict) else {}
