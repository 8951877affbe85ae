"""Faults that tests inject into a real engine: `engine serve --allow-faults` with ENGINE_FAULTS=FILE.toml.

The file lists faults of executors. The first one that applies to a forward pass is injected:

    [[fault]]
    kind = "hang"        # raise, hang, nan, overflow, out_of_memory, kill_thread
    where = "instance"   # or "inline", "any": the thread that runs the pass; any unless given
    min_texts = 1        # only passes of at least so many texts
    min_tokens = 100     # only passes of at least so many padded tokens
    times = 3            # inject it so often; without limit unless given

An empty file injects nothing. The file is read again when it changes, and every `times` then counts from 0.
"""

import logging
import os
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

ENVIRONMENT_NAME = "ENGINE_FAULTS"


class FaultKind(StrEnum):
    """What happens instead of a forward pass, or to its result."""

    RAISE = "raise"
    """The pass raises RuntimeError, as a runtime does."""
    HANG = "hang"
    """The pass never returns."""
    NAN = "nan"
    """Every vector has a NaN."""
    OVERFLOW = "overflow"
    """Every vector has a norm of 1e30: finite, and too large for FLOAT16."""
    OUT_OF_MEMORY = "out_of_memory"
    """The pass raises MemoryError."""
    KILL_THREAD = "kill_thread"
    """The pass raises an exception that nothing but the instance's thread handles, and the thread ends."""


_PLACES = ("any", "instance", "inline")


@dataclass(frozen=True, slots=True)
class Fault:
    """One table of the file."""

    kind: FaultKind
    where: str = "any"
    min_texts: int = 1
    min_tokens: int = 0
    times: int = 0
    """0: without limit."""

    def applies(self, *, inline: bool, texts: int, padded_tokens: int) -> bool:
        """Whether the fault applies to such a pass. `inline`: the event loop runs it."""
        right_place = self.where == "any" or (self.where == "inline") == inline
        return right_place and texts >= self.min_texts and padded_tokens >= self.min_tokens


class InvalidFaults(ValueError):
    """The faults cannot be used: the message says why."""


class FaultFile:
    """The faults of a file. Used by several threads."""

    def __init__(self, path: Path) -> None:
        """Raises InvalidFaults if the file cannot be read."""
        self.path = path
        self._lock = threading.Lock()
        self._version: object = None
        self._faults: tuple[Fault, ...] = ()
        self._injected: dict[int, int] = {}
        self._read()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, allowed: bool) -> "FaultFile | None":
        """Returns the faults that the environment names, None without a name.

        Raises InvalidFaults if faults are not allowed, or their file cannot be read.
        """
        name = environment.get(ENVIRONMENT_NAME, "")
        if not name:
            return None
        if not allowed:
            raise InvalidFaults(
                f"{ENVIRONMENT_NAME} names faults to inject, which needs --allow-faults: "
                f"add the option, or unset {ENVIRONMENT_NAME}"
            )
        return cls(Path(name))

    def next(self, *, inline: bool, texts: int, padded_tokens: int) -> FaultKind | None:
        """Returns the fault to inject into a forward pass, and counts it; None: run the pass."""
        with self._lock:
            try:
                self._read()
            except InvalidFaults:
                _log.exception("the faults stay as they were")
            for index, fault in enumerate(self._faults):
                injected = self._injected.get(index, 0)
                is_left = not fault.times or injected < fault.times
                if is_left and fault.applies(inline=inline, texts=texts, padded_tokens=padded_tokens):
                    self._injected[index] = injected + 1
                    return fault.kind
        return None

    def _read(self) -> None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - per pass
            version = (found.st_mtime_ns, found.st_size, found.st_ino)
            if version == self._version:
                return
            self._version = version
            faults = faults_in(self.path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidFaults(f"cannot read the faults in {self.path}: {error}") from error
        self._faults, self._injected = faults, {}


def faults_in(text: str) -> tuple[Fault, ...]:
    """Parses a file of faults. Raises InvalidFaults, or ValueError for invalid TOML."""
    tables = tomllib.loads(text)
    rows = tables.pop("fault", [])
    if tables or not isinstance(rows, list):
        raise InvalidFaults("a file of faults has [[fault]] tables and nothing else")
    return tuple(_fault(row) for row in rows)


def _fault(row: Mapping[str, Any]) -> Fault:
    known = {field.name for field in fields(Fault)}
    if unknown := sorted(set(row) - known):
        raise InvalidFaults(f"a fault has no key {unknown[0]!r}: choose from {', '.join(sorted(known))}")
    kinds = [kind.value for kind in FaultKind]
    if row.get("kind") not in kinds:
        raise InvalidFaults(f"the kind of a fault is {row.get('kind')!r}: choose from {', '.join(kinds)}")
    fault = Fault(**{**row, "kind": FaultKind(row["kind"])})
    if fault.where not in _PLACES:
        raise InvalidFaults(f"a fault is in {fault.where!r}: choose from {', '.join(_PLACES)}")
    if not all(type(value) is int and value >= 0 for value in (fault.min_texts, fault.min_tokens, fault.times)):
        raise InvalidFaults("min_texts, min_tokens and times are whole numbers from 0")
    return fault
