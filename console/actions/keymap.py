"""The keymap: a TOML file of `action = key`, or a list of keys, over the registry's own. Errors name line and key."""

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
"""What moves the cursor in each mode's list: no action can have it there."""
_NAMED = frozenset(
    (
        *("enter", "space", "up", "down", "left", "right", "home", "end", "pageup", "pagedown"),
        *("insert", "delete", "backspace"),
        *(f"f{number}" for number in range(1, 25)),
    )
)
_SAME_AS = {"ctrl+m": "Enter", "ctrl+j": "Enter", "ctrl+i": "Tab", "ctrl+h": "Backspace", "ctrl+[": "Esc"}
"""What plain terminals send for other keys."""
_TAKEN = {"escape": "closes dialogs and filters", "tab": "moves between fields", "shift+tab": "moves between fields"}
_NEEDED = ("quit", "palette")
"""Without a key of these there would be no way out, or none to an action without a key."""


class KeymapError(Exception):
    """A keymap cannot be used: where, why, and what would do."""


def keymap_path() -> Path:
    """The user's own keymap, which need not be there."""
    from platformdirs import user_config_path

    return user_config_path("embedconsole") / "keymap.toml"


def keymap_in_force(asked: str = "") -> Registry:
    """The registry with the keymap asked for, else EMBEDCONSOLE_KEYMAP's, else the user's own, else as it is.

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
        raise KeymapError(f"{path} is not UTF-8 (offset {error.start}): save it so") from error
    return parse_keymap(text, str(path))


def parse_keymap(text: str, source: str) -> Registry:
    """`source` begins every error. Raises KeymapError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise KeymapError(toml_error_message(str(error), source, text.splitlines())) from error
    lines = text.splitlines()

    def refused(action_id: str, why: str) -> KeymapError:
        line = line_of(lines, "", 0, action_id)
        return KeymapError(f"{source}, line {line}, {action_id}: {why}" if line else f"{source}, {action_id}: {why}")

    changed: dict[str, tuple[str, ...]] = {}
    for action_id, value in document.items():
        try:
            changed[action_id] = _keys(action_id, value)
        except ValueError as error:
            raise refused(action_id, str(error)) from error
    actions = tuple(replace(action, keys=changed.get(action.id, action.keys)) for action in ACTIONS)
    for action_id in changed:
        if clash := _clash(actions, action_id):
            raise refused(action_id, clash)
    return Registry(actions)


def _keys(action_id: str, value: Any) -> tuple[str, ...]:
    """The keys of one line, checked by themselves. Raises ValueError."""
    if action_id not in DEFAULT.by_id:
        near = difflib.get_close_matches(action_id, DEFAULT.by_id, 1)
        hint = f"did you mean {near[0]}?" if near else "`embedconsole keys` lists them"
        raise ValueError(f"no such action: {hint}")
    written = [value] if isinstance(value, str) else value
    if not isinstance(written, list) or not all(isinstance(key, str) for key in written):
        raise ValueError('write a key in quotes, or a list of keys, as in ["q", "ctrl+c"]')
    if not written and action_id in _NEEDED:
        raise ValueError("it needs a key: without it there is no way to what has none")
    return tuple(dict.fromkeys(_key(key, action_id) for key in written))


def _key(written: str, action_id: str) -> str:
    """The key in the registry's spelling; what is the action's own key anyway is one. Raises ValueError."""
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
        raise ValueError(f"{written!r} cannot be told from {_SAME_AS[key]} on most terminals: choose another key")
    if key == "ctrl+c" and action_id != "quit":
        raise ValueError("'ctrl+c' copies a selection or quits: choose another key")
    if modifiers == ["shift"] and len(base) == 1:
        raise ValueError(f"{written!r} arrives as the character it makes: write {base.upper()!r}")
    known = base in _NAMED or (bool(modifiers) and len(base) == 1 and base.isascii() and base.isalnum())
    if not known or len(set(modifiers)) < len(modifiers) or not set(modifiers) <= {"ctrl", "alt", "shift"}:
        names = "a character, ctrl+letter, alt+letter, f1 to f24, enter, space, up, pageup, home, insert, delete, …"
        raise ValueError(f"{written!r} is no key: write {names}")
    return key


def _clash(actions: Sequence[Action], action_id: str) -> str:
    """Whose key it is already in a mode that both belong to; empty if nobody's."""
    mine = next(action for action in actions if action.id == action_id)
    for mode in (mode for mode in SHOWN if mode in mine.modes):
        for key in mine.keys:
            if key in LIST_KEYS[mode]:
                return f"{key!r} moves the cursor in {mode.capitalize()}: choose another key"
            for other in actions:
                if other.id != action_id and mode in other.modes and key in other.keys:
                    return (
                        f"{key!r} is the key of {other.id} ({other.title}) in {mode.capitalize()} too: "
                        f"choose another key, or give {other.id} one of its own"
                    )
    return ""


def as_toml(registry: Registry) -> str:
    """The keys in force, as a keymap to start from."""
    rows = [
        "# Keys of embedconsole: action = a key, or a list of keys; [] takes them all away (the palette keeps it).",
        "# Only what is to be different need stay in the file.",
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
