"""A stored run as a screen shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.model.load import Point

if TYPE_CHECKING:
    from console.store.read import StoredRun


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run whole, as a screen shows it."""

    run: "StoredRun"
    report: Mapping[str, Any]
    """The object of `run --json`; of a run that never ended, what its intervals say. Empty: nothing was measured."""
    points: tuple[Point, ...]
    """Its seconds, counted from the start of the load."""
