"""What the console restores next time: how it was looked at, the load's settings, the engine's. A small JSON file."""

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
    """One immutable value; the defaults are those of a console that was never used."""

    theme: str = ""
    """Empty: the first one."""
    mode: str = LIVE
    zoom_s: float = DEFAULT_ZOOM_S
    """Seconds on the charts; 0: all."""
    log_y: bool = False
    load: LoadSpec = field(default_factory=LoadSpec)
    engine: EngineSpec = field(default_factory=EngineSpec)

    def describe(self) -> str:
        """What differs from a console that was never used, the specs as flags; empty where nothing does."""
        plain = SavedState()
        parts = [
            f"engine {' '.join(flags)}" if (flags := engine_flags(self.engine)) else "",
            f"load {' '.join(load_flags(self.load))}" if self.load != plain.load else "",
            f"theme {self.theme}" if self.theme != plain.theme else "",
            f"mode {self.mode.capitalize()}" if self.mode != plain.mode else "",
            f"{self.zoom_s:g} s on the charts" if self.zoom_s else "all the time on the charts",
            "latency on a log scale" if self.log_y else "",
        ]
        if self.zoom_s == plain.zoom_s:
            parts[4] = ""
        return " · ".join(part for part in parts if part)


def state_path() -> Path:
    """EMBEDCONSOLE_STATE, else in the user's state folder."""
    if named := os.environ.get(STATE_VARIABLE, ""):
        return Path(named).expanduser()
    from platformdirs import user_state_path

    return user_state_path("embedconsole") / "console.json"


class Memory:
    """The file. `found` is what it says (or the defaults), `notice` why it could not be used; empty when it could."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """`fresh`: nothing is restored, but what becomes of this console is remembered."""
        self.path = path
        self.found = SavedState()
        self.notice = ""
        self._newer = False
        before = self._read()
        self.before = before
        """As it lies there, also where nothing of it is restored."""
        if not fresh:
            self.found = before
        elif not self._newer:
            self.notice = ""

    def restore_no_engine(self) -> None:
        """The command line says which engine."""
        self.found = replace(self.found, engine=EngineSpec())

    def restore_no_mode(self) -> None:
        """The command line says what is shown first."""
        self.found = replace(self.found, mode=LIVE)

    def _read(self) -> SavedState:
        try:
            document = json.loads(self.path.read_text("utf-8"))
            if not isinstance(document, dict) or not isinstance(version := document.get("version"), int):
                raise ValueError("it has no version")  # noqa: TRY004 told below, as what the decoder raises
            if version > VERSION:
                self._newer = True
                self.notice = f"{self.path} is a newer version's: nothing was restored, and it is left as it is"
                return SavedState()
            return _saved_state(document)
        except FileNotFoundError:
            return SavedState()
        except OSError as error:
            self.notice = f"{self.path} cannot be read ({error.strerror}): nothing was restored"
        except ValueError as error:
            self.notice = f"{self.path} is damaged ({error}): nothing was restored, and it will be written anew"
        return SavedState()

    def keep(self, remembered: SavedState) -> None:
        """Writes the file whole or not at all. Raises OSError. One of a newer version is left alone."""
        if self._newer:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"version": VERSION, **asdict(remembered)}, indent=1) + "\n"
        with NamedTemporaryFile("w", encoding="utf-8", dir=self.path.parent, delete=False) as file:
            file.write(text)
        try:
            Path(file.name).replace(self.path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
        self.before = remembered


def _saved_state(document: Mapping[str, Any]) -> SavedState:
    """Raises ValueError for what this version cannot have written."""
    known = SavedState()
    load = _checked(known.load, document.get("load", {}))
    engine = _checked(known.engine, document.get("engine", {}))
    look = {name: _value(name, getattr(known, name), document) for name in ("theme", "mode", "zoom_s", "log_y")}
    return SavedState(load=load, engine=engine, **look)


def _checked(plain: Spec, values: Any) -> Spec:
    if not isinstance(values, dict):
        raise ValueError("load or engine is no object")  # noqa: TRY004 as every value that cannot be used
    return replace(plain, **{one.name: _value(one.name, getattr(plain, one.name), values) for one in fields(plain)})


def _value(name: str, plain: Any, values: Mapping[str, Any]) -> Any:
    """The value of that name, of the kind that `plain` is; where there is none, `plain`."""
    value = values.get(name, plain)
    if isinstance(plain, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(plain):
        raise ValueError(f"{name} is not {type(plain).__name__}")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(f"{name} is none of {', '.join(_CHOICES[name])}")
    if isinstance(value, int | float) and not isinstance(value, bool) and not _LEAST.get(name, 0) <= value < 2**31:
        raise ValueError(f"{name} is out of range")
    return value
