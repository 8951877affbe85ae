"""The saved state: view, load and engine settings that the console restores at its next start. A JSON file."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar

from console.actions.action import LIVE, MODES
from console.actions.cli_form import engine_flags, load_flags
from console.model.engine import EngineSpec
from console.model.load import LoadSpec

VERSION = 1
STATE_VARIABLE = "EMBEDCONSOLE_STATE"
DEFAULT_ZOOM_S = 60.0
_CHOICES = {"mode": MODES, "workload": ("texts", "pairs"), "arrival": ("poisson", "constant")}
_LEAST = {"batch": 1, "concurrency": 1, "max_in_flight": 1}

Spec = TypeVar("Spec", bound=LoadSpec | EngineSpec)


@dataclass(frozen=True, slots=True)
class SavedState:
    """The saved settings; the defaults are those of a first start."""

    theme: str = ""
    """Name of the theme; empty for the first one."""
    mode: str = LIVE
    zoom_s: float = DEFAULT_ZOOM_S
    """Time range of the charts in seconds; 0 for all."""
    log_y: bool = False
    load: LoadSpec = field(default_factory=LoadSpec)
    engine: EngineSpec = field(default_factory=EngineSpec)

    def describe(self) -> str:
        """Returns what differs from a first start, engine and load as options; empty if nothing differs."""
        plain = SavedState()
        parts = [
            f"engine {' '.join(flags)}" if (flags := engine_flags(self.engine)) else "",
            f"load {' '.join(load_flags(self.load))}" if self.load != plain.load else "",
            f"theme {self.theme}" if self.theme != plain.theme else "",
            f"mode {self.mode.capitalize()}" if self.mode != plain.mode else "",
            f"charts show {self.zoom_s:g} s" if self.zoom_s else "charts show all",
            "latency on a log scale" if self.log_y else "",
        ]
        if self.zoom_s == plain.zoom_s:
            parts[4] = ""
        return " · ".join(part for part in parts if part)


def state_path() -> Path:
    """Returns the path of the file: EMBEDCONSOLE_STATE, else console.json in the user's state folder."""
    if named := os.environ.get(STATE_VARIABLE, ""):
        return Path(named).expanduser()
    from platformdirs import user_state_path

    return user_state_path("embedconsole") / "console.json"


class Memory:
    """The file of the saved state.

    `found` is the state to restore (the defaults if there is none), `notice` why the file could not be used, or
    empty.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """Reads the file. `fresh`: restores nothing; the file is still written later."""
        self.path = path
        self.found = SavedState()
        self.notice = ""
        self._newer = False
        self.before = self._read()
        """The content of the file, even if it is not restored."""
        if not fresh:
            self.found = self.before
        elif not self._newer:
            self.notice = ""

    def restore_no_engine(self) -> None:
        """Does not restore the engine, since the command line names one."""
        self.found = replace(self.found, engine=EngineSpec())

    def restore_no_mode(self) -> None:
        """Does not restore the mode, since the command line selects one."""
        self.found = replace(self.found, mode=LIVE)

    def _read(self) -> SavedState:
        try:
            document = json.loads(self.path.read_text("utf-8"))
            if not isinstance(document, dict) or not isinstance(version := document.get("version"), int):
                raise ValueError("it has no version")  # noqa: TRY004 handled below like an error of the decoder
            if version > VERSION:
                self._newer = True
                self.notice = f"{self.path} was written by a newer version: nothing was restored, the file is kept"
                return SavedState()
            return _saved_state(document)
        except FileNotFoundError:
            return SavedState()
        except OSError as error:
            self.notice = f"{self.path} cannot be read ({error.strerror}): nothing was restored"
        except ValueError as error:
            self.notice = f"{self.path} is damaged ({error}): nothing was restored, the file will be replaced"
        return SavedState()

    def keep(self, state: SavedState) -> None:
        """Replaces the file atomically. Does nothing if a newer version wrote it. Raises OSError."""
        if self._newer:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"version": VERSION, **asdict(state)}, indent=1) + "\n"
        with NamedTemporaryFile("w", encoding="utf-8", dir=self.path.parent, delete=False) as file:
            file.write(text)
        try:
            Path(file.name).replace(self.path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
        self.before = state


def _saved_state(document: Mapping[str, Any]) -> SavedState:
    """Returns the state in a document. Raises ValueError for a value that this version cannot have written."""
    known = SavedState()
    load = _checked(known.load, document.get("load", {}))
    engine = _checked(known.engine, document.get("engine", {}))
    look = {name: _value(name, getattr(known, name), document) for name in ("theme", "mode", "zoom_s", "log_y")}
    return SavedState(load=load, engine=engine, **look)


def _checked(plain: Spec, values: Any) -> Spec:
    if not isinstance(values, dict):
        raise ValueError("load or engine is not an object")  # noqa: TRY004 like every other invalid value
    return replace(plain, **{one.name: _value(one.name, getattr(plain, one.name), values) for one in fields(plain)})


def _value(name: str, plain: Any, values: Mapping[str, Any]) -> Any:
    """Returns the value of that name, or `plain` if it is missing. Raises ValueError if its type or range is wrong."""
    value = values.get(name, plain)
    if isinstance(plain, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(plain):
        raise ValueError(f"{name} is not {type(plain).__name__}")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(f"{name} is not one of {', '.join(_CHOICES[name])}")
    if isinstance(value, int | float) and not isinstance(value, bool) and not _LEAST.get(name, 0) <= value < 2**31:
        raise ValueError(f"{name} is out of range")
    return value
