"""The keymap: a TOML file of `action = key` or a list of keys, which overrides the default keys.

Errors name the line and the key.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from console.actions.action import COMPARE, EVERYWHERE, LIVE, LOG, REPLAY, RUNS, SHOWN, SWEEP, Action
from console.actions.catalog import ACTIONS
from console.actions.registry import DEFAULT, Registry
from console.model.toml_lines import line_of, toml_error_message

KEYMAP_VARIABLE = "EMBEDCONSOLE_KEYMAP"
_LIST = frozenset("kjgG") | {"up", "down", "pageup", "pagedown", "home", "end"}
_LIST_SIDEWAYS = _LIST | {"h", "l", "left", "right"}
LIST_KEYS: Mapping[str, frozenset[str]] = {
    LIVE: frozenset(),
    SWEEP: _LIST_SIDEWAYS,
    RUNS: _LIST,
    COMPARE: _LIST_SIDEWAYS,
    LOG: _LIST_SIDEWAYS,
    REPLAY: frozenset(),
}
"""Keys that move the cursor in the list of each mode; no action of that mode can use them."""
_NAMED = frozenset(
    (
        *("enter", "space", "up", "down", "left", "right", "home", "end", "pageup", "pagedown"),
        *("insert", "delete", "backspace"),
        *(f"f{number}" for number in range(1, 25)),
    )
)
_SAME_AS = {"ctrl+m": "Enter", "ctrl+j": "Enter", "ctrl+i": "Tab", "ctrl+h": "Backspace", "ctrl+[": "Esc"}
"""Keys that terminals send as another key."""
_TAKEN = {"escape": "closes dialogs and filters", "tab": "moves between fields", "shift+tab": "moves between fields"}
_NEEDED = ("quit", "palette")
"""Actions that must have a key: to quit, and to reach actions without a key."""


class KeymapError(Exception):
    """A keymap is invalid; the message names the place, the reason and the fix."""


def keymap_path() -> Path:
    """Returns the path of the user's keymap, which may not exist."""
    from platformdirs import user_config_path

    return user_config_path("embedconsole") / "keymap.toml"


def keymap_in_force(asked: str = "") -> Registry:
    """Returns the registry with the keymap `asked`, else that of EMBEDCONSOLE_KEYMAP, else the user's, else defaults.

    Raises KeymapError.
    """
    named = asked or os.environ.get(KEYMAP_VARIABLE, "")
    path = Path(named).expanduser() if named else keymap_path()
    if not named and not path.is_file():
        return DEFAULT
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise KeymapError(
            f"{path} cannot be read ({error.strerror}): `embedconsole keys > {path.name}` writes one to start from"
        ) from error
    except UnicodeDecodeError as error:
        raise KeymapError(f"{path} is not UTF-8 (offset {error.start}): save it as UTF-8") from error
    return parse_keymap(text, str(path))


def parse_keymap(text: str, source: str) -> Registry:
    """Returns the registry with the keys of a TOML text. `source` names the text in errors. Raises KeymapError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise KeymapError(toml_error_message(str(error), source, text.splitlines())) from error
    lines = text.splitlines()

    def error_at(action_id: str, reason: str) -> KeymapError:
        line = line_of(lines, "", 0, action_id)
        place = f"{source}, line {line}" if line else source
        return KeymapError(f"{place}, {action_id}: {reason}")

    changed: dict[str, tuple[str, ...]] = {}
    for action_id, value in document.items():
        try:
            changed[action_id] = _keys(action_id, value)
        except ValueError as error:
            raise error_at(action_id, str(error)) from error
    actions = tuple(replace(action, keys=changed.get(action.id, action.keys)) for action in ACTIONS)
    for action_id in changed:
        if clash := _clash(actions, action_id):
            raise error_at(action_id, clash)
    return Registry(actions)


def _keys(action_id: str, value: Any) -> tuple[str, ...]:
    """Returns the keys of one line. Raises ValueError for an unknown action or an invalid key."""
    if action_id not in DEFAULT.by_id:
        near = difflib.get_close_matches(action_id, DEFAULT.by_id, 1)
        hint = f"did you mean {near[0]}?" if near else "`embedconsole keys` lists them"
        raise ValueError(f"no such action: {hint}")
    written = [value] if isinstance(value, str) else value
    if not isinstance(written, list) or not all(isinstance(key, str) for key in written):
        raise ValueError('write a key in quotes, or a list of keys, as in ["q", "ctrl+c"]')
    if not written and action_id in _NEEDED:
        raise ValueError("this action needs a key: it quits, or opens the palette of actions without a key")
    return tuple(dict.fromkeys(_key(key, action_id) for key in written))


def _key(written: str, action_id: str) -> str:
    """Returns the key in the registry's spelling. A default key of the action is always valid. Raises ValueError."""
    if written in DEFAULT.by_id[action_id].keys:
        return written
    if written == " ":
        return "space"
    if len(written) == 1 and written.isprintable():
        return written
    key = written.lower()
    *modifiers, base = (*key[:-2].split("+"), "+") if key.endswith("++") else key.split("+")
    if key in _TAKEN:
        raise ValueError(f"{written!r} {_TAKEN[key]} everywhere: choose another key")
    if key in _SAME_AS:
        raise ValueError(f"most terminals send {written!r} as {_SAME_AS[key]}: choose another key")
    if key == "ctrl+c" and action_id != "quit":
        raise ValueError("'ctrl+c' copies a selection or quits: choose another key")
    if modifiers == ["shift"] and len(base) == 1:
        raise ValueError(f"terminals send {written!r} as a character: write {base.upper()!r}")
    known = base in _NAMED or (bool(modifiers) and len(base) == 1 and base.isascii() and base.isalnum())
    if not known or len(set(modifiers)) < len(modifiers) or not set(modifiers) <= {"ctrl", "alt", "shift"}:
        names = "a character, ctrl+letter, alt+letter, f1 to f24, enter, space, up, pageup, home, insert, delete, …"
        raise ValueError(f"{written!r} is not a key: write {names}")
    return key


def _clash(actions: Sequence[Action], action_id: str) -> str:
    """Returns an error if another action, or the list, uses a key of this action in a shared mode; empty if none."""
    mine = next(action for action in actions if action.id == action_id)
    for mode in (mode for mode in SHOWN if mode in mine.modes):
        for key in mine.keys:
            if key in LIST_KEYS[mode]:
                return f"{key!r} moves the cursor in {mode.capitalize()}: choose another key"
            for other in actions:
                if other.id != action_id and mode in other.modes and key in other.keys:
                    return (
                        f"{key!r} is also the key of {other.id} ({other.title}) in {mode.capitalize()}: "
                        f"choose another key, or change the key of {other.id}"
                    )
    return ""


def as_toml(registry: Registry) -> str:
    """Returns the current keys as a keymap file to edit."""
    rows = [
        "# Keys of embedconsole: action = key, or a list of keys; [] removes all keys (the palette keeps the action).",
        "# Only the lines that you change need to stay in the file.",
    ]
    for group, actions in groupby(registry.actions, key=lambda action: action.group):
        rows += ["", f"# {group}"]
        rows += [f"{_pair(action):<44}  # {_where(action)}" for action in actions]
    return "\n".join(rows) + "\n"


def _pair(action: Action) -> str:
    keys = [_quoted(key) for key in action.keys]
    return f"{action.id} = {keys[0] if len(keys) == 1 else '[' + ', '.join(keys) + ']'}"


def _quoted(key: str) -> str:
    return f"'{key}'" if key in '"\\' else f'"{key}"'


def _where(action: Action) -> str:
    if action.modes == EVERYWHERE:
        return action.title
    there = [mode.capitalize() for mode in SHOWN if mode in action.modes]
    missing = [mode.capitalize() for mode in SHOWN if mode not in action.modes]
    return f"{action.title} · {', '.join(there) if len(missing) > 1 else f'not {missing[0]}'}"
